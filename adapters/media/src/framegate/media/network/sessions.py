"""Open HTTP sessions for URLs that a client chose."""

from collections.abc import Mapping

import aiohttp
from aiohttp.resolver import ThreadedResolver

from framegate.media.network.addresses import Guard


def guarded_session(guard: Guard, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """Return a session for one request, which dials what ``guard`` allows, past any proxy, without cookies.

    Its user follows no redirects, unless each hop gets a guard of its own, and limits the time it takes.
    """
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
