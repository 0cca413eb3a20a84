"""Parse HTTP/1.1 without what proxies may read in another way, and without what costs more than it carries.

llhttp takes the obsolete line folding, blank lines before a request and several blanks in its first line, as
RFC 9112 allows. A proxy in front may split such requests at other bytes, so that a part of one client's
request becomes another's (request smuggling).
"""

import re
from typing import Protocol

import httptools
from msgspec import Struct

from framegate.server.connections.chunked_framing import ChunkedFraming
from framegate.server.connections.refusals import MAX_HEAD, RefusedRequest

MAX_TARGET = 16 * 1024
MAX_HEADERS = 200

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)")
_UPGRADE = re.compile(rb"(?<=\r\n)(?=upgrade:)", re.IGNORECASE)
_IGNORED = b"X-Ignored-"


class RequestHead(Struct, gc=False):
    """A request line and headers; the names of headers are in lower case.

    ``keep_alive`` tells whether another request may follow on the connection.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool


class RequestReceiver(Protocol):
    """What is notified of the parts of requests, in their order."""

    def on_request(self, head: RequestHead) -> None:
        """Take the head of a request."""
        ...

    def on_body(self, data: bytes) -> None:
        """Take a piece of its body."""
        ...

    def on_request_complete(self) -> None:
        """Take note that the request is complete."""
        ...


class RequestParser:
    """llhttp's parser of requests, with further rules; it parses one request at a time for ``receiver``.

    Bytes that follow a request are kept until `start_next`. After an error nothing may be fed any more.
    """

    def __init__(self, receiver: RequestReceiver) -> None:
        self._receiver = receiver
        self._llhttp = httptools.HttpRequestParser(self)
        self._unparsed = bytearray()
        self._headers: list[tuple[bytes, bytes]] = []
        self.in_body = False
        """Whether the rest of a body is awaited."""
        self.complete = False
        """Whether a request is complete, and the next one is not parsed yet."""
        self.received = 0
        """The bytes that have come since the current request's head, all of its body among them."""
        self._searched = 0  # the unparsed bytes of a head that hold neither its end nor a fault
        self._left = 0
        self._chunks: ChunkedFraming | None = None
        self._keep_alive = False

    @property
    def has_unparsed(self) -> bool:
        """Whether there is a part of a head, or more behind a request."""
        return bool(self._unparsed)

    def feed(self, data: bytes) -> None:
        """Parse what a client has sent.

        Raises:
            RefusedRequest: It isn't valid HTTP/1.1, or breaks a rule.
        """
        self.received += len(data)
        is_idle = not (self._unparsed or self.in_body or self.complete)
        if is_idle and data.endswith(_END) and data.find(_END) == len(data) - len(_END):
            self._parse_head(data)  # nearly always: a request without a body, in one piece
        else:
            self._unparsed += data
            self._parse()

    def start_next(self) -> None:
        """Go on to the request that follows a complete one; a part of it may be there already.

        Raises:
            RefusedRequest: It isn't valid HTTP/1.1, or breaks a rule.
        """
        self.complete = False
        if self._unparsed:
            self._parse()

    def _parse(self) -> None:
        unparsed = self._unparsed
        while unparsed and not self.complete:
            if self.in_body:
                size = self._chunks.measure(unparsed) if self._chunks else min(self._left, len(unparsed))
                if not size:
                    return
                with memoryview(unparsed)[:size] as piece:
                    self._parse_body(piece)
            else:
                size = self._measure_head()
                if not size:
                    return
                self._parse_head(bytes(unparsed[:size]))
            del unparsed[:size]

    def _measure_head(self) -> int:
        """Return the length of the head that is there; 0 if it is incomplete."""
        unparsed, searched = self._unparsed, max(0, self._searched - len(_END))
        end = unparsed.find(_END, searched, MAX_HEAD + len(_END))
        if end >= 0:
            self._searched = 0
            return end + len(_END)
        if not self._searched or b"\n" in unparsed[searched:] or len(unparsed) >= MAX_TARGET:
            _check_incomplete(unparsed)
        self._searched = len(unparsed)
        return 0

    def _parse_head(self, head: bytes) -> None:
        lowered = head.lower()
        _check_lines(head)
        line = _REQUEST_LINE.match(head)
        if line is None:
            raise RefusedRequest
        method, target, version = line.groups()
        _check_framing(lowered, method, version)
        if b"\r\nupgrade:" in lowered:
            # As an offer to go on in another protocol it may be ignored, but llhttp would skip the body.
            head = _UPGRADE.sub(_IGNORED, head)
        self._headers = []
        self.complete = False
        self._feed(head)
        headers, self._headers = self._headers, []
        if b" \r\n" in head or b"\t\r\n" in head:
            headers = [(name, value.rstrip(b" \t")) for name, value in headers]
        fields = dict(headers)
        self._chunks = ChunkedFraming() if b"transfer-encoding" in fields else None
        self._left = int(fields.get(b"content-length", 0))
        self._check_end(is_end=not self._left and self._chunks is None)
        self.in_body = not self.complete
        self.received = 0
        keep_alive = version == b"1.1" and self._keep_alive
        expects_continue = (
            b"expect" in fields and version == b"1.1" and fields[b"expect"].lower() == b"100-continue"
        )
        self._receiver.on_request(RequestHead(method, target, version, headers, keep_alive, expects_continue))
        if self.complete:
            self._receiver.on_request_complete()

    def _parse_body(self, piece: memoryview) -> None:
        self._left -= len(piece)
        self._feed(piece)
        self._check_end(is_end=self._chunks.ended if self._chunks else not self._left)
        if self.complete:
            self.in_body = False
            self._receiver.on_request_complete()

    def _check_end(self, *, is_end: bool) -> None:
        """Refuse a request whose end llhttp sees elsewhere than these rules."""
        if self.complete != is_end:
            raise RefusedRequest

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserInvalidMethodError as error:
            raise RefusedRequest("The request's method is not known here.", 501) from error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise RefusedRequest from error

    # What llhttp calls

    def on_message_begin(self) -> None:
        """Ignore that a request begins."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or ignore a trailer."""
        if not self.in_body:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take note whether the client keeps the connection; llhttp forgets it with the request's end."""
        self._keep_alive = self._llhttp.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the body on."""
        self._receiver.on_body(data)

    def on_message_complete(self) -> None:
        """Take note that the request is complete."""
        self.complete = True


def _check_incomplete(head: bytearray) -> None:
    """Refuse a part of a head that no rest can mend."""
    if not 0x21 <= head[0] <= 0x7E:
        raise RefusedRequest
    _check_lines(head)


def _check_lines(head: bytes | bytearray) -> None:
    """Refuse a head, complete or not, that is too large, or whose lines end or begin in another way."""
    if len(head) >= MAX_TARGET and b"\n" not in head[:MAX_TARGET]:
        raise RefusedRequest(f"The URL is longer than {MAX_TARGET:,} bytes.", 414)
    lines = head.count(b"\n")
    if len(head) > MAX_HEAD + 2 or lines > MAX_HEADERS + 2:
        raise RefusedRequest(
            f"The headers are too large; at most {MAX_HEADERS} of {MAX_HEAD:,} bytes in all are accepted.",
            431,
        )
    if lines != head.count(b"\r\n"):
        raise RefusedRequest("A line of the request's head ends with LF alone instead of CR LF.")
    if b"\n " in head or b"\n\t" in head:
        raise RefusedRequest("A header is continued on a second line, which HTTP/1.1 no longer allows.")


def _check_framing(lowered: bytes, method: bytes, version: bytes) -> None:
    """Refuse a complete head, in lower case, that leaves open where its request ends, or whom it is for."""
    if version not in (b"1.1", b"1.0"):
        raise RefusedRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.", 505)
    if method == b"CONNECT":
        raise RefusedRequest("CONNECT is for proxies, and this is none.", 501)
    hosts = lowered.count(b"\r\nhost:")
    if hosts > 1 or (not hosts and version == b"1.1"):
        raise RefusedRequest("The request needs one Host header.")
    if b"\r\ntransfer-encoding:" in lowered:
        if [each.strip(b" \t") for each in _TRANSFER_ENCODING.findall(lowered)] != [b"chunked"]:
            raise RefusedRequest("The only Transfer-Encoding that is known here is `chunked`.", 501)
        if b"\r\ncontent-length:" in lowered:
            raise RefusedRequest(
                "The request has both Content-Length and Transfer-Encoding; send one of them."
            )
        if version < b"1.1":
            raise RefusedRequest("Transfer-Encoding is not part of HTTP/1.0; send Content-Length.")
