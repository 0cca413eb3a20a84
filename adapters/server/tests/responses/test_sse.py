"""Streams of events: what keeps them alive, and how they end."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from litestar.types import Message

from framegate.server.responses.sse import EventStream


class Client:
    """Takes what a stream sends: before each event it waits for ``ready``, until `leave` disconnects it."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ready = asyncio.Event()
        self.ready.set()
        self.sending = 0
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def read(self, stream: EventStream) -> None:
        request: Any = None  # a stream needs none
        await stream.to_asgi_response(None, request)({}, self._receive, self._send)  # type: ignore[arg-type]  # nor a scope

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 # of what a stream sends
                await asyncio.sleep(0.001)

    async def _receive(self) -> Any:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            assert not self.sending, "one after the other"
            self.sending += 1
            await self.ready.wait()
            self.sending -= 1
            self.events.append(message["body"])


def keepalive() -> bytes:
    return b": alive\n\n"


async def test_a_silent_stream_is_kept_alive() -> None:
    client, waited = Client(), asyncio.Event()

    async def slow() -> AsyncGenerator[bytes, None]:
        yield b"begin"
        await waited.wait()
        yield b"end"

    reading = asyncio.create_task(client.read(EventStream(slow(), keepalive, 0.02)))
    await client.until(lambda: len(client.events) == 4)
    waited.set()
    await reading
    assert client.events[0] == b"begin"
    assert client.events[-1] == b"end"
    assert set(client.events[1:-1]) == {keepalive()}


async def test_a_stream_with_events_needs_no_comments() -> None:
    client = Client()

    async def fast() -> AsyncGenerator[bytes, None]:
        for number in range(20):
            yield b"%d" % number
            await asyncio.sleep(0.01)

    await client.read(EventStream(fast(), keepalive, 60.0))
    assert client.events == [b"%d" % number for number in range(20)]


async def test_nothing_is_added_for_a_client_that_does_not_read() -> None:
    client, more = Client(), asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"begin"
        await more.wait()
        yield b"middle"
        yield b"end"

    reading = asyncio.create_task(client.read(EventStream(events(), keepalive, 0.01)))
    await client.until(lambda: len(client.events) == 2)  # the second is a comment
    client.ready.clear()
    await client.until(lambda: client.sending == 1)
    more.set()
    await asyncio.sleep(0.05)
    taken = len(client.events)
    client.ready.set()
    await reading
    assert client.events[taken:] == [keepalive(), b"middle", b"end"]


async def test_what_comes_to_an_end_before_its_client_has_left_is_closed() -> None:
    client, closed = Client(), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            yield b"begin"
            await asyncio.Event().wait()
        finally:
            closed.set()

    reading = asyncio.create_task(client.read(EventStream(endless(), keepalive, 0.01)))
    await client.until(lambda: len(client.events) > 2)
    client.leave()
    await reading
    assert closed.is_set()
    sent = len(client.events)
    await asyncio.sleep(0.05)
    assert len(client.events) == sent
