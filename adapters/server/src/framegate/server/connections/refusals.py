"""What requests are refused with that aren't valid, or too large, before an app sees them."""

from http import HTTPStatus

import msgspec

from framegate.server.errors.renderer import NeutralError

MAX_HEAD = 64 * 1024
"""The bytes of a request line and its headers, of a chunk's size and extensions, and of trailers."""
_RETRY_AFTER = 5
_CODES = {
    400: "invalid_request",
    408: "request_timeout",
    414: "uri_too_long",
    431: "headers_too_large",
    503: "too_many_connections",
}


class RefusedRequest(Exception):
    """A request that is refused with ``status``; the message is for the client."""

    def __init__(self, message: str = "The request is not valid HTTP/1.1.", status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def refusal_response(status: int, message: str) -> bytes:
    """Return the response to a request of which no dialect knows, after which the connection is closed."""
    body = msgspec.json.encode(NeutralError(message, _CODES.get(status, "invalid_request")))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"Retry-After: {_RETRY_AFTER}\r\n"
    return head.encode() + b"\r\n" + body
