"""Which web pages may call without a key, by what browsers say of a request."""

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from litestar.types import Scope

LOOPBACK_ORIGIN = r"https?://(?:[A-Za-z0-9-]+\.)*localhost(?::\d{1,5})?|https?://127(?:\.\d{1,3}){3}(?::\d{1,5})?|https?://\[::1\](?::\d{1,5})?"
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")
_LONGEST = 300

_LOCAL_PAGES = "Without API keys only local pages may call: set cors_origins"
_FILE_PAGE = (
    f"The page was opened from a file or in a sandbox (Origin: null). {_LOCAL_PAGES} = "
    '["null"] under [server], or {remedy}.'
)
_FOREIGN_PAGE = (
    f"The page's Origin is not this machine's. {_LOCAL_PAGES} under [server] to a list with that origin, "
    'such as ["https://app.example.com"], or {remedy}.'
)
_CROSS_SITE = (
    "Another site's page makes this request (Sec-Fetch-Site: cross-site) and doesn't say which. "
    f"{_LOCAL_PAGES} under [server] to a list with its origin, and let it send that, or {{remedy}}."
)


@lru_cache(maxsize=1024)
def is_loopback_host(host: str) -> bool:
    """Return whether ``host``, a name or an address without a port, always is this machine.

    That is true of 127.0.0.0/8, of ::1, and of ``localhost`` and every name below it, which browsers resolve
    without asking a name server.
    """
    name = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def is_loopback_authority(authority: str) -> bool:
    """Return whether a Host header's value, with or without a port, always is this machine."""
    host = _host_of(authority)
    return bool(host) and is_loopback_host(host)


def is_loopback_origin(origin: str) -> bool:
    """Return whether an Origin header's value is this machine; ``null`` (a file, a sandboxed page) is not."""
    return is_loopback_authority(_authority_of(origin))


class OriginRules:
    """The web pages that may call where no key is needed: local ones, and those of ``allowed`` origins.

    So may the pages of this server itself: those of ``public_url``, and those at an IP address. At any other
    name they may be another site's, which has rebound its name to this host. ``remedy`` is what else would
    let pages in, for messages.
    """

    def __init__(self, allowed: Collection[str], public_url: str = "", *, remedy: str) -> None:
        self._remedy = remedy
        own = urlsplit(public_url)
        self._allowed = frozenset(map(str.lower, allowed))  # as browsers write them
        self._own = f"{own.scheme}://{own.netloc}".lower() if own.netloc else ""

    def reason_against_page(self, scope: Scope) -> str:
        """Return why the page that makes the request may not, and what would allow it; empty if it may."""
        host, origins, cross_site = "", list[str](), False
        names = dict(scope["headers"])
        if b"origin" not in names and b"sec-fetch-site" not in names:
            return ""  # no browser's
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
            elif name == b"origin":
                origins.append(value.decode("latin-1"))
            elif name == b"sec-fetch-site":
                cross_site = cross_site or value.strip().lower() == b"cross-site"
        for origin in origins:
            if not self._is_allowed(origin, host):
                return (_FILE_PAGE if origin == "null" else _FOREIGN_PAGE).format(remedy=self._remedy)
        if cross_site and not origins and scope.get("method") != "GET":
            return _CROSS_SITE.format(remedy=self._remedy)
        return ""

    def _is_allowed(self, origin: str, host: str) -> bool:
        if is_loopback_origin(origin) or origin in self._allowed or (self._own and origin == self._own):
            return True
        authority = _authority_of(origin)
        return bool(authority) and authority == host and _address(_host_of(host).strip("[]")) is not None


def _authority_of(origin: str) -> str:
    """Return the host, and the port if there is one, of an http(s) origin; empty if it is none."""
    if len(origin) > _LONGEST:
        return ""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in ("http", "https") else ""


def _host_of(authority: str) -> str:
    match = _HOST.fullmatch(authority) if len(authority) <= _LONGEST else None
    return match["host"] if match else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
