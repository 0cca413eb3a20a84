"""Open HTTP sessions for URLs that a client chose. `load_client` imports this module."""

import socket
from collections.abc import Mapping

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from framegate.media.network.addresses import Guard
from framegate.media.network.lookups import HostLookups
from framegate.media.network.metering import Meter, MeteredConnector

FAILURES = (aiohttp.ClientError, OSError, ValueError)
"""What requests raise; ValueError for host names and headers that aiohttp and its parsers trip over."""


def guarded_session(
    guard: Guard, headers: Mapping[str, str], *, resolver: AbstractResolver, meter: Meter
) -> aiohttp.ClientSession:
    """Return a session for one request, which dials what ``guard`` allows, past any proxy, without cookies.

    ``meter`` limits what the server sends around its content. The session's user follows no redirects, unless
    each hop gets a guard of its own, and limits the time it takes.
    """
    connector = MeteredConnector(
        meter, socket_factory=guard, resolver=resolver, use_dns_cache=False, force_close=True
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None),
    )


class OwnerResolver(AbstractResolver):
    """Resolve hosts for the connector of one owner's session."""

    def __init__(self, lookups: HostLookups, owner: str) -> None:
        self._lookups = lookups
        self._owner = owner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host`` in families that this machine uses."""
        infos = await self._lookups.find(
            host, port, owner=self._owner, family=family, flags=socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in infos
        ]

    async def close(self) -> None:
        """Do nothing: the lookups are shared with other sessions."""
