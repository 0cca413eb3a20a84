"""Restrict the addresses that the server may dial for a URL that a client chose.

Checking the host name alone is worth nothing: names resolve differently from one moment to the next, and an
address has many spellings. So the check is made where the socket is made, and sees the address that is about
to be dialled. Anything public on ports 80 and 443 may be dialled; the operator's ``[fetch] allow``
opens more.
"""

import re
import socket
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

from framegate.core.config_errors import ErrorCollector

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""What `socket.getaddrinfo` returns: family, type, protocol, canonical name, (address, port, …)."""

PUBLIC_PORTS = frozenset({80, 443})

HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

# From the IANA special-purpose registries. `ip_address(…).is_global` is not used: what it says changed
# between patch releases of Python.
NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "168.63.129.16/32",  # answers virtual machines in Azure from inside their host
        ),
    )
)

GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4, which wraps any IPv4 address
            "3ffe::/16",
            "3fff::/20",
        ),
    )
)
NAT64 = IPv6Network("64:ff9b::/96")


class Refusal(StrEnum):
    """Why a connection was refused."""

    ADDRESS = "address"
    PORT = "port"


REFUSALS = {
    Refusal.ADDRESS: "an address that is not public",
    Refusal.PORT: "a port other than 80 and 443",
}
REMEDY = "The server's operator can open hosts and networks with `[fetch] allow`."


class DialRefused(OSError):
    """Raised instead of making a socket. An `OSError`, so that clients treat it as a failed connection."""


class DialPolicy:
    """Decide what may be dialled: public addresses at ports 80 and 443, and what ``allow`` opens.

    ``allow`` holds networks, addresses and host names, which may be dialled at any port.

    Raises:
        ConfigError: An entry of ``allow`` is none of these.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._hosts: set[str] = set()
        found = ErrorCollector()
        for index, entry in enumerate(allow):
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                if HOST_NAME.fullmatch(name := _normalized(entry)):
                    self._hosts.add(name)
                else:
                    found.add(
                        f"{entry!r} is neither a network such as '10.0.0.0/8', nor an address, nor a host "
                        "name such as 'images.internal' (without scheme, port or path).",
                        *("fetch", "allow", index),
                    )
        found.raise_errors()

    def refusal(self, host: str, address: str, port: int) -> Refusal | None:
        """Return why ``address``, to which ``host`` resolved, may not be dialled; None if it may."""
        target = _plain(ip_address(address))
        if _normalized(host) in self._hosts or any(target in network for network in self._networks):
            return None
        if not is_public(target):
            return Refusal.ADDRESS
        return None if port in PUBLIC_PORTS else Refusal.PORT

    def guard(self, host: str) -> "Guard":
        """Return a socket factory for connections to ``host``."""
        return Guard(self, host)


class Guard:
    """Check one host's addresses and make sockets for them: the ``socket_factory`` of a connector.

    Afterwards ``refusal`` says why no connection was made; the client's own error is vague where a name has
    several addresses.
    """

    def __init__(self, policy: DialPolicy, host: str) -> None:
        self._policy = policy
        self._host = host
        self.refusal: Refusal | None = None

    def __call__(self, info: AddressInfo) -> socket.socket:
        """Return a socket for an address.

        Raises:
            DialRefused: The address may not be dialled.
        """
        family, kind, protocol, _, (address, port, *_) = info
        refusal = self._policy.refusal(self._host, address, port)
        if refusal is not None:
            self.refusal = refusal
            raise DialRefused(f"{refusal} may not be dialled")
        return socket.socket(family, kind, protocol)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether the address belongs to the public internet."""
    target = _plain(address)
    if isinstance(target, IPv4Address):
        return not any(target in network for network in NOT_PUBLIC_V4)
    return target in GLOBAL_UNICAST_V6 and not any(target in network for network in NOT_PUBLIC_V6)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address merely wraps, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


def _normalized(host: str) -> str:
    return host.lower().rstrip(".")
