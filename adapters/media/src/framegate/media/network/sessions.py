"""HTTP sessions for URLs that somebody else chose."""

from collections.abc import Mapping

import aiohttp
from aiohttp.resolver import ThreadedResolver

from framegate.media.network.addresses import Guard


def guarded_session(guard: Guard, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """A session for one request: it dials what ``guard`` lets it dial, past any proxy, and keeps no cookies.
    Whoever uses it follows no redirects unless each hop has a guard of its own, and bounds its time."""
    connector = aiohttp.TCPConnector(
        socket_factory=guard, resolver=ThreadedResolver(), use_dns_cache=False, force_close=True
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None),
    )
