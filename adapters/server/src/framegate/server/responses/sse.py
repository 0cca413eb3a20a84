"""Server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from framegate.core.concurrency import cancel_and_wait
from framegate.server.errors.error_info import ClientDisconnected, ServerStopping
from framegate.server.responses.waiting import while_connected

Item = TypeVar("Item")

KEEPALIVE_SECONDS = 8.0
"""How long a stream may be silent: proxies close silent connections."""
STREAM_OPT = "event_stream"
STREAMS = {STREAM_OPT: True}
"""The ``opt`` of a handler that may answer with an `EventStream`, for the API docs."""
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response[None]):
    """Send encoded events as they come.

    When the client disconnects, the generator of events is closed, whatever it is waiting for; when the
    server stops, it is cancelled and may still yield a last event.
    """

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(None)
        self._events = events

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> "_Sender":
        """Return the ASGI app that sends the events."""
        return _Sender(self._events)


class _Sender(ASGIResponse):
    __slots__ = ("_events",)

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server that stops cancels this task; the last event has been sent, and the stream ends here.
        with suppress(ClientDisconnected, ServerStopping):
            await while_connected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            # The generator can clean up only from its first event on; nothing is sent before.
            event = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            await send({"type": "http.response.body", "body": event, "more_body": True})
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def with_keepalives(
    items: AsyncGenerator[Item, None], seconds: float
) -> AsyncGenerator[Item | None, None]:
    """Yield the items, and None whenever none has come for that many seconds."""
    async with aclosing(items):
        while True:
            coming = asyncio.ensure_future(anext(items, _END))
            try:
                while not (await asyncio.wait({coming}, timeout=seconds))[0]:
                    yield None
            finally:
                await cancel_and_wait([coming])
            item = coming.result()
            if item is _END:
                return
            yield item


_END: Any = object()
