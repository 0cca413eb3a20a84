"""Say why a connection to a URL that a client chose failed."""

import aiohttp

from framegate.media.network.addresses import Guard
from framegate.media.network.fetch import REFUSALS


def failure_reason(error: Exception, guard: Guard) -> str:
    """Return why a request failed, as the end of a sentence. The error's own text would name addresses."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its host could not be resolved"
        case aiohttp.ClientSSLError():
            return "the TLS connection failed; its certificate may be invalid"
        case aiohttp.ClientConnectorError() if guard.refusal is not None:
            return f"it leads to {REFUSALS[guard.refusal]}"
        case aiohttp.ClientConnectorError():
            return "it can't be reached"
        case _:
            return "it did not send a valid HTTP response"
