"""The HTTP client with which the server requests URLs that others have chosen: its name, and its import."""

import asyncio
import re
import sys
from importlib import import_module
from importlib.metadata import version

from framegate.media.network.urls import InvalidUrl, parse_url

_CLIENT = "framegate.media.network.sessions"
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


async def load_client() -> None:
    """Import aiohttp and what builds on it, unless that was done.

    It takes a tenth of a second and 10 MB, which servers that request nothing spare; so it is imported by the
    first request, in a thread, and modules that a server imports at its start import it in functions.
    """
    if _CLIENT not in sys.modules:
        await asyncio.to_thread(import_module, _CLIENT)
