"""Server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from framegate.core.concurrency import cancel_and_wait
from framegate.server.errors.error_info import ClientDisconnected, ServerStopping
from framegate.server.responses.waiting import while_connected

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
    """Send encoded events as they come, and what ``keepalive`` returns, after ``seconds`` without one.

    When the client disconnects, the generator of events is closed, whatever it is waiting for; when the
    server stops, it is cancelled and may still yield a last event.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        keepalive: Callable[[], bytes] = lambda: b": waiting\n\n",
        seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        super().__init__(None)
        self._sender = _Sender(events, keepalive, seconds)

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> "_Sender":
        """Return the ASGI app that sends the events."""
        return self._sender


class _Sender(ASGIResponse):
    __slots__ = ("_comment", "_events", "_keepalive", "_seconds", "_send", "_sends", "_sent_at", "_timer")

    def __init__(
        self, events: AsyncGenerator[bytes, None], keepalive: Callable[[], bytes], seconds: float
    ) -> None:
        super().__init__()
        self._events = events
        self._keepalive = keepalive
        self._seconds = seconds
        self._sends = False
        self._sent_at = 0.0
        self._comment: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server that stops cancels this task; the last event has been sent, and the stream ends here.
        with suppress(ClientDisconnected, ServerStopping):
            await while_connected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        self._send = send
        try:
            async with aclosing(self._events) as events:
                # The generator can clean up only from its first event on; nothing is sent before.
                event = await anext(events)
                await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
                await self._send_event(event)
                self._keep_alive()
                async for event in events:
                    await self._send_event(event)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._comment is not None:
                await cancel_and_wait([self._comment])
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_event(self, event: bytes) -> None:
        if self._comment is not None:
            await asyncio.wait([self._comment])
        self._sends = True
        try:
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            self._sends = False
        self._sent_at = asyncio.get_running_loop().time()

    def _keep_alive(self) -> None:
        """Send a comment if none and no event was sent for so long, and look again when that may be next."""
        loop = asyncio.get_running_loop()
        left = self._sent_at + self._seconds - loop.time()
        # A client that doesn't take what was sent needs no more.
        if left <= 0 and not self._sends and self._comment is None:
            self._comment = loop.create_task(self._send_comment())
        self._timer = loop.call_later(left if left > 0 else self._seconds, self._keep_alive)

    async def _send_comment(self) -> None:
        try:
            await self._send({"type": "http.response.body", "body": self._keepalive(), "more_body": True})
        finally:
            self._sent_at = asyncio.get_running_loop().time()
            self._comment = None
