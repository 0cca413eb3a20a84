"""Parse HTTP/1.1 without what proxies may read in another way, and without what costs more than it carries.

h11 takes the obsolete line folding, lines that end with a bare LF, and Content-Length beside
Transfer-Encoding, as RFC 9112 allows. A proxy in front may split such requests at other bytes, so that a part
of one client's request becomes another's (request smuggling).
"""

from typing import TypeAlias

import h11

MAX_HEAD = 64 * 1024
"""The bytes of a request line and its headers."""
MAX_TARGET = 16 * 1024
MAX_HEADERS = 200
_MAX_FRAMING = 2**20
"""The bytes that chunk sizes and extensions of a body may take beside as many as its data."""
_FREE_CHUNKS = 2000
_MIN_CHUNK = 256
"""The bytes that chunks have on average once there are many: each costs as much as kilobytes in one piece."""

_END_OF_HEAD = b"\r\n\r\n"

_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class RefusedRequest(h11.RemoteProtocolError):
    """A request that h11 would take; ``error_status_hint`` is its status, the message is for the client."""


class StrictConnection(h11.Connection):
    """h11's parser of the server's side, with further rules for requests.

    Whoever feeds it counts the bytes in ``received``, which begins again with each request.
    """

    received = 0
    _chunks = 0
    _body = 0
    _may_be_chunked = False

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)

    def next_event(self) -> _Event:
        """Return the next event.

        Raises:
            RemoteProtocolError: The client doesn't speak HTTP/1.1, or breaks a rule (`RefusedRequest`).
        """
        if self.their_state is h11.IDLE and (head := self.trailing_data[0]):
            self._may_be_chunked = _check_head(head)
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._check_chunks(event)
        elif isinstance(event, h11.Request):
            self._chunks = self._body = self.received = 0
            _check_framing(event, self._may_be_chunked)
        return event

    def _check_chunks(self, data: h11.Data) -> None:
        self._body += len(data.data)
        if not data.chunk_start:
            return
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS and self._body < _MIN_CHUNK * self._chunks:
            raise RefusedRequest(
                f"The body comes in more than {_FREE_CHUNKS:,} chunks of fewer than {_MIN_CHUNK} bytes on "
                "average; send larger ones."
            )
        if self.received > 2 * self._body + _MAX_FRAMING:
            raise RefusedRequest("The extensions of the body's chunks are larger than the body.")


def _check_head(head: bytes) -> bool:
    """Refuse a head, complete or not, that breaks a rule; bytes after it don't count.

    Return whether it may have a Transfer-Encoding.
    """
    end = head.find(_END_OF_HEAD)
    if end >= 0:
        head = head[: end + 2]
    if len(head) >= MAX_TARGET and b"\n" not in head[:MAX_TARGET]:
        raise RefusedRequest(f"The URL is longer than {MAX_TARGET:,} bytes.", error_status_hint=414)
    lines = head.count(b"\n")
    if len(head) > MAX_HEAD or lines > MAX_HEADERS + 1:
        raise RefusedRequest(
            f"The headers are too large; at most {MAX_HEADERS} of {MAX_HEAD:,} bytes in all are accepted.",
            error_status_hint=431,
        )
    if lines != head.count(b"\r\n"):
        raise RefusedRequest("A line of the request's head ends with LF alone instead of CR LF.")
    if b"\n " in head or b"\n\t" in head:
        raise RefusedRequest("A header is continued on a second line, which HTTP/1.1 no longer allows.")
    return b"transfer-encoding" in head.lower()


def _check_framing(request: h11.Request, may_be_chunked: bool) -> None:
    if not request.http_version.startswith(b"1."):
        raise RefusedRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.", error_status_hint=505)
    if may_be_chunked and b"transfer-encoding" in (names := [name for name, _ in request.headers]):
        if b"content-length" in names:
            raise RefusedRequest(
                "The request has both Content-Length and Transfer-Encoding; send one of them."
            )
        if request.http_version < b"1.1":
            raise RefusedRequest("Transfer-Encoding is not part of HTTP/1.0; send Content-Length.")
