"""Say why a connection to a URL that a client chose failed."""

import aiohttp

from framegate.media.network.addresses import REFUSALS, REMEDY, Guard


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


def fetch_failure(error: Exception, guard: Guard, shown: str) -> str:
    """Return why the file of the URL ``shown`` can't be fetched, as a sentence for the person who sent it."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"The host of {shown} could not be resolved."
        case aiohttp.ClientSSLError():
            return f"{shown} could not be fetched: the TLS connection failed; its certificate may be invalid."
        case aiohttp.ClientConnectorError() if guard.refusal is not None:
            return f"{shown} leads to {REFUSALS[guard.refusal]}. {REMEDY}"
        case aiohttp.ClientConnectorError():
            return f"{shown} could not be fetched: its server can't be reached."
        case aiohttp.ClientPayloadError():
            return f"{shown} could not be fetched: the connection was closed before the file was complete."
        case _:
            return f"{shown} could not be fetched: its server did not send a valid HTTP response."
