"""Let requests without a body skip the layers that receive one."""

from collections.abc import Callable, Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_OF_BODIES = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


class RequestsWithBody:
    """ASGI middleware that puts requests through ``layers``, the innermost first, if they have a body.

    HTTP/1.1 knows by two headers whether one follows (RFC 9112, 6). Requests that say how a body is encoded
    go through them too, so that an unknown encoding is refused whether or not anything follows.
    """

    def __init__(self, app: ASGIApp, layers: Sequence[Callable[[Any], Any]]) -> None:
        self._app = self._receiving = app
        for layer in layers:
            self._receiving = layer(self._receiving)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        has_body = scope["type"] == ScopeType.HTTP and not _OF_BODIES.isdisjoint(dict(scope["headers"]))
        await (self._receiving if has_body else self._app)(scope, receive, send)
