"""Refuse requests from other machines, and from other sites' web pages, while there are no keys."""

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import OriginRules, is_loopback_authority
from framegate.server.errors.error_info import ForeignOrigin, Refuse
from framegate.server.requests.forwarded import forwarded_of

log = structlog.get_logger(__name__)

_FOREIGN_HOST = (
    "The {} header is not this machine's. Without API keys only loopback hosts are served; configure "
    "[[auth.keys]] to allow others."
)


class LoopbackOnly:
    """ASGI middleware that refuses requests whose Host or page is not this machine, while there are no keys.

    The host that a trusted proxy says the client has used has to be this machine as well. ``origins`` says
    which pages are let in.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, refuse: Refuse, origins: OriginRules) -> None:
        self._app = app
        self._keys = keys
        self._refuse = refuse
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == ScopeType.HTTP and not self._keys.keyed and (reason := self._reason(scope)):
            log.warning("foreign_request_refused", reason=reason)
            await self._refuse(scope, receive, send, ForeignOrigin(reason))
            return
        await self._app(scope, receive, send)

    def _reason(self, scope: Scope) -> str:
        """Return why the request is refused, and what would allow it; empty if it is let in."""
        for name, value in scope["headers"]:
            if name == b"host" and not is_loopback_authority(value.decode("latin-1")):
                return _FOREIGN_HOST.format("Host")
        host = forwarded_of(scope).host
        if host and not is_loopback_authority(host):
            return _FOREIGN_HOST.format("forwarded Host")
        return self._origins.reason_against_page(scope)
