"""Give up on bodies that come too slowly."""

import asyncio
from collections.abc import Callable
from typing import Any

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPDisconnectEvent,
    HTTPReceiveMessage,
    Receive,
    ReceiveMessage,
    Scope,
    Send,
)

from framegate.server.connections.exchange import HAS_MESSAGE
from framegate.server.errors.error_info import BodyTimedOut


class BodyDeadlines:
    """ASGI middleware whose ``receive`` raises an error if the client is too slow.

    A client may be silent for ``timeout`` seconds. Beyond that many seconds of waiting in all, it has to have
    sent ``min_rate`` bytes for each further one; 0 demands nothing. Time in which the server doesn't read
    doesn't count.
    """

    def __init__(self, app: ASGIApp, timeout: float, min_rate: int) -> None:
        self._app = app
        self._timeout = timeout
        self._min_rate = min_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == ScopeType.HTTP:
            extensions: Any = scope.get("extensions") or {}
            has_message = extensions.get(HAS_MESSAGE, _may_wait)
            receive = _ArrivingBody(receive, has_message, self._timeout, self._min_rate).receive
        await self._app(scope, receive, send)


def _may_wait() -> bool:
    return False


class _ArrivingBody:
    """The body of one request, before it is decoded.

    A piece that is here already gets no deadline, as a timer costs more than all else that is done for it.
    """

    def __init__(
        self, receive: Receive, has_message: Callable[[], bool], timeout: float, min_rate: int
    ) -> None:
        self._receive = receive
        self._has_message = has_message
        self._timeout = timeout
        self._min_rate = min_rate
        self._received = 0
        self._waited = 0.0
        self._complete = False

    async def receive(self) -> HTTPReceiveMessage | HTTPDisconnectEvent:
        """Return the next piece, or, after the last one, wait until the client disconnects.

        Raises:
            BodyTimedOut: No piece has come in time.
        """
        if self._complete:
            return await self._receive()  # type: ignore[return-value]  # HTTP's messages alone
        message = await (self._receive() if self._has_message() else self._receive_in_time())
        if message["type"] == "http.request":
            self._received += len(message["body"])
            self._complete = not message["more_body"]
        return message  # type: ignore[return-value]  # HTTP's messages alone

    async def _receive_in_time(self) -> ReceiveMessage:
        started = asyncio.get_running_loop().time()
        patience = self._timeout
        if self._min_rate:
            patience = min(patience, self._timeout + self._received / self._min_rate - self._waited)
        try:
            async with asyncio.timeout_at(started + patience):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimedOut(
                f"The request's body came too slowly: {self._received:,} bytes arrived within "
                f"{self._waited + max(patience, 0.0):.0f} s."
            ) from None
        self._waited += asyncio.get_running_loop().time() - started
        return message
