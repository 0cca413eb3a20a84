"""Refuse requests from other machines, and from other sites' web pages, while no keys are configured."""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias
from urllib.parse import urlsplit

import structlog
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from framegate.server.errors.error_info import ForeignOrigin
from framegate.server.requests.forwarded import forwarded_of

log = structlog.get_logger(__name__)

EXPOSED_HEADERS = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "Warning",
    "X-Request-ID",
    "X-Should-Retry",
    "openai-poll-after-ms",
]
LOOPBACK_ORIGIN = r"https?://(?:[A-Za-z0-9-]+\.)*localhost(?::\d{1,5})?|https?://127(?:\.\d{1,3}){3}(?::\d{1,5})?|https?://\[::1\](?::\d{1,5})?"
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")

_FOREIGN_HOST = (
    "The {} header is not this machine's. Without API keys only loopback hosts are served; configure "
    "[[auth.keys]] to allow others."
)
_LOCAL_PAGES = "Without API keys only local pages may call: set cors_origins"
_FILE_PAGE = (
    f"The page was opened from a file or in a sandbox (Origin: null). {_LOCAL_PAGES} = "
    '["null"] under [server], or configure [[auth.keys]].'
)
_FOREIGN_PAGE = (
    f"The page's Origin is not this machine's. {_LOCAL_PAGES} under [server] to a list with that origin, "
    'such as ["https://app.example.com"], or configure [[auth.keys]].'
)

Refuse: TypeAlias = Callable[[Scope, Receive, Send, ForeignOrigin], Awaitable[None]]


def is_loopback_host(host: str) -> bool:
    """Return whether ``host``, a name or an address without a port, always is this machine.

    That is true of 127.0.0.0/8, of ::1, and of ``localhost`` and every name below it, which browsers resolve
    without asking a name server.
    """
    name = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def is_loopback_authority(authority: str) -> bool:
    """Return whether a Host header's value, with or without a port, always is this machine."""
    match = _HOST.fullmatch(authority)
    return match is not None and is_loopback_host(match["host"])


def is_loopback_origin(origin: str) -> bool:
    """Return whether an Origin header's value is this machine; ``null`` (a file, a sandboxed page) is not."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_loopback_authority(parts.netloc)


class LoopbackOnly:
    """ASGI middleware that refuses requests whose Host or Origin is not this machine.

    The host that a trusted proxy says the client has used has to be this machine as well. ``origins`` are
    other Origins that are let in.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, origins: Collection[str] = ()) -> None:
        self._app = app
        self._refuse = refuse
        self._origins = frozenset(map(str.lower, origins))  # as browsers write them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == ScopeType.HTTP and (reason := self._reason_against(scope)):
            log.warning("foreign_request_refused", reason=reason)
            await self._refuse(scope, receive, send, ForeignOrigin(reason))
            return
        await self._app(scope, receive, send)

    def _reason_against(self, scope: Scope) -> str:
        """Return why the request is refused, and what would allow it; empty if it is let in."""
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            if name == b"host" and not is_loopback_authority(text):
                return _FOREIGN_HOST.format("Host")
            if name == b"origin" and not is_loopback_origin(text) and text not in self._origins:
                return _FILE_PAGE if text == "null" else _FOREIGN_PAGE
        host = forwarded_of(scope).host
        return "" if not host or is_loopback_authority(host) else _FOREIGN_HOST.format("forwarded Host")


def cors_config(origins: Collection[str] = (), *, any_origin: bool) -> CORSConfig:
    """Let any web page call if ``any_origin``, as keys are checked; otherwise local ones and ``origins``."""
    return CORSConfig(
        allow_origins=["*"] if any_origin else [origin.lower() for origin in origins],
        allow_origin_regex=None if any_origin else LOOPBACK_ORIGIN,
        expose_headers=EXPOSED_HEADERS,
    )
