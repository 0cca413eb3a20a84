"""What requests are refused with that aren't valid, or too large, before an app sees them."""

MAX_HEAD = 64 * 1024
"""The bytes of a request line and its headers, of a chunk's size and extensions, and of trailers."""


class RefusedRequest(Exception):
    """A request that is refused with ``status``; the message is for the client."""

    def __init__(self, message: str = "The request is not valid HTTP/1.1.", status: int = 400) -> None:
        super().__init__(message)
        self.status = status
