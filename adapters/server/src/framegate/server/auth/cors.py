"""Tell browsers which web pages may read the server's answers."""

from collections.abc import Collection

from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.middleware import AbstractMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import LOOPBACK_ORIGIN

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


def only_for_pages(cors: AbstractMiddleware) -> ASGIApp:
    """Return Litestar's CORS middleware for the requests of web pages alone; others have no Origin header."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == ScopeType.HTTP and b"origin" in dict(scope["headers"])
        await (cors if is_page else cors.app)(scope, receive, send)

    return app


class Cors(CORSConfig):
    """Let any web page call where requests need a key; otherwise local ones and ``origins``."""

    def __init__(self, keys: KeyRing, origins: Collection[str]) -> None:
        super().__init__(expose_headers=EXPOSED_HEADERS)
        self._keys = keys
        self._any_page = CORSConfig(expose_headers=EXPOSED_HEADERS)
        self._local_pages = CORSConfig(
            allow_origins=[origin.lower() for origin in origins],
            allow_origin_regex=LOOPBACK_ORIGIN,
            expose_headers=EXPOSED_HEADERS,
        )

    @property
    def _current(self) -> CORSConfig:
        return self._any_page if self._keys.keyed else self._local_pages

    @property
    def is_allow_all_origins(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # cached there
        """Whether any page may call."""
        return self._current.is_allow_all_origins

    @property
    def preflight_headers(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]  # cached there
        """The headers of answers to preflight requests."""
        return self._current.preflight_headers

    @property
    def simple_headers(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]  # cached there
        """The headers of other answers."""
        return self._current.simple_headers

    def is_origin_allowed(self, origin: str) -> bool:
        """Return whether the pages of ``origin`` may call."""
        return self._current.is_origin_allowed(origin)
