"""Open HTTP sessions for URLs that a client chose."""

import re
from collections.abc import Mapping
from importlib.metadata import version

import aiohttp

from framegate.media.network.addresses import Guard
from framegate.media.network.lookups import OwnerResolver
from framegate.media.network.metering import Meter, MeteredConnector
from framegate.media.network.urls import InvalidUrl, parse_url

_VISIBLE = re.compile(r"[!-~]+")


def default_user_agent(public_url: str = "") -> str:
    """Return the User-Agent that says who fetches, as some hosts require: product, version, and where it is.

    ``public_url`` is the server's own, as its operator wrote it ("" for none).
    """
    product = f"Framegate/{version('framegate-media')}"
    try:
        url = parse_url(public_url)
    except InvalidUrl:
        return product
    return f"{product} (+{public_url if _VISIBLE.fullmatch(public_url) else url})"


def guarded_session(
    guard: Guard, headers: Mapping[str, str], *, resolver: OwnerResolver, meter: Meter
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
