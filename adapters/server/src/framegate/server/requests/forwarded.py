"""Learn from trusted proxies who the client is, and by which scheme, host and prefix it reached them.

Only what trusted proxies have added counts: entries of lists are taken from the right, past the addresses of
trusted proxies. ``X-Forwarded-Proto`` and ``X-Forwarded-Host`` win over ``Forwarded`` (RFC 7239), because the
usual proxies set the former and pass on whatever clients send as the latter.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import TypeAlias

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError

AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
"""A host that can be part of a link, with or without a port."""
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_SCHEME = re.compile("https?")
_LONGEST = 300
_LONGEST_ADDRESS = 100
_CLIENT_NETWORK = 64
"""The bits of an IPv6 address that a client does not choose itself."""
_ELEMENT = re.compile(r'(?:[^,"]|"[^"]*")+')
_PAIR = re.compile(r'(?:[^;"]|"[^"]*")+')
_MOST_ENTRIES = 30
_STATE = "forwarded"

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Forwarded(Struct, frozen=True):
    """What trusted proxies say of a request; empty texts for what they don't say.

    ``host`` may have a port; ``prefix`` is the path at which the server is mounted, such as ``/video``;
    ``client`` is the address from which the request came to the outermost trusted proxy.
    """

    scheme: str = ""
    host: str = ""
    prefix: str = ""
    client: str = ""


_NOTHING = Forwarded()


def forwarded_of(scope: Scope) -> Forwarded:
    """Return what trusted proxies say of the request."""
    forwarded: Forwarded = scope["state"].get(_STATE, _NOTHING)
    return forwarded


def client_ip(scope: Scope) -> str:
    """Return the IP address from which the request came, as trusted proxies say; empty for a Unix socket."""
    peer = scope["client"]
    return _ip_of(forwarded_of(scope).client or (peer[0] if peer else ""))


def client_network(scope: Scope) -> str:
    """Return the address from which the request came or, of an IPv6 address, its /64 network.

    A single IPv6 client has as many addresses as it likes within its network. Behind trusted proxies it is
    the client's, else the peer's, whatever headers say; empty for a Unix socket.
    """
    peer = scope["client"]
    return _network_of(forwarded_of(scope).client or (peer[0] if peer else ""))


@lru_cache(maxsize=4096)
def _ip_of(text: str) -> str:
    return str(parse_address(text) or "")


@lru_cache(maxsize=4096)
def _network_of(text: str) -> str:
    address = parse_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, _CLIENT_NETWORK), strict=False))
    return str(address or "")


class TrustedProxies:
    """The addresses from which forwarded headers are believed.

    Raises:
        ConfigError: One of ``names`` is neither an address nor a network.
    """

    def __init__(self, names: Sequence[str]) -> None:
        found = ErrorCollector()
        self._networks: list[_Network] = []
        for number, name in enumerate(names):
            with found.catching():
                self._networks.append(_network(number, name))
        found.raise_errors()

    def __contains__(self, address: str) -> bool:
        """Return whether ``address``, with or without a port, is one of them."""
        parsed = parse_address(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address in ``text``, which may have quotes, brackets and a port; None if there is none.

    An IPv4 address that is written as an IPv6 address is returned as what it is.
    """
    return _parse_short(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parse_short(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _network(number: int, name: str) -> _Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ConfigError(
            f"{name!r} is neither an IP address nor a network; write one such as "
            '"127.0.0.1" or "10.0.0.0/8".',
            key=("server", "trusted_proxies", number),
        ) from None


class ForwardedHeaders:
    """ASGI middleware that reads the headers of trusted proxies, for `forwarded_of`."""

    def __init__(self, app: ASGIApp, trusted: TrustedProxies) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == ScopeType.HTTP and (peer := scope["client"]) and peer[0] in self._trusted:
            scope.setdefault("state", {})[_STATE] = self._read(scope)
        await self._app(scope, receive, send)

    def _read(self, scope: Scope) -> Forwarded:
        addresses = _entries(scope, b"x-forwarded-for")
        hops = self._count_hops(addresses)
        schemes, hosts, prefixes = (
            _entries(scope, name)[-hops:]
            for name in (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix")
        )
        client = addresses[-hops:][0] if addresses else ""
        if not (schemes or hosts):
            schemes, hosts, standard_client = self._read_standard(_elements(scope))
            client = client or standard_client
        return Forwarded(
            client=client if parse_address(client) else "",
            scheme=_valid(_SCHEME, schemes[0].lower() if schemes else ""),
            host=_valid(AUTHORITY, hosts[0] if hosts else ""),
            prefix=_valid(_PREFIX, "".join(prefix.rstrip("/") for prefix in prefixes)),
        )

    def _count_hops(self, addresses: Sequence[str]) -> int:
        """Return how many proxies, from this server's peer on, are trusted."""
        return 1 + sum(1 for _ in takewhile(self._trusted.__contains__, reversed(addresses)))

    def _read_standard(self, elements: Sequence[Mapping[str, str]]) -> tuple[list[str], list[str], str]:
        """Return the schemes and hosts that trusted proxies have written, and the client's address.

        The client's scheme and host come first.
        """
        schemes: list[str] = []
        hosts: list[str] = []
        client = ""
        for element in reversed(elements):
            schemes = [element["proto"]] if "proto" in element else schemes
            hosts = [element["host"]] if "host" in element else hosts
            client = element.get("for", "")
            if client not in self._trusted:
                break
        return schemes, hosts, client


def _text(scope: Scope, name: bytes) -> str:
    return b",".join(value for given, value in scope["headers"] if given == name).decode("latin-1")


def _entries(scope: Scope, name: bytes) -> list[str]:
    """Return the last entries of a list in the headers called ``name``."""
    entries = (entry.strip() for entry in _text(scope, name).rsplit(",", _MOST_ENTRIES)[-_MOST_ENTRIES:])
    return [entry for entry in entries if entry]


def _elements(scope: Scope) -> list[dict[str, str]]:
    """Return the parameters of the last elements in the header ``Forwarded``, by their lower-case names."""
    elements: list[dict[str, str]] = []
    for element in _ELEMENT.findall(_text(scope, b"forwarded"))[-_MOST_ENTRIES:]:
        pairs = (pair.partition("=") for pair in _PAIR.findall(element))
        elements.append({name.strip().lower(): value.strip().strip('"') for name, _, value in pairs})
    return elements


def _valid(pattern: re.Pattern[str], text: str) -> str:
    return text if len(text) <= _LONGEST and pattern.fullmatch(text) else ""
