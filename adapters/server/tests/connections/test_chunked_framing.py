"""Where the chunks of a body end, however they arrive."""

import pytest

from framegate.server.connections.refusals import MAX_HEAD, RefusedRequest
from framegate.server.connections.request_parser import RequestHead, RequestParser

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class Requests:
    """The bodies of the requests that a parser reports, each with the number of its pieces."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.pieces: list[int] = []
        self.complete = 0

    def on_request(self, head: RequestHead) -> None:
        self.bodies.append(b"")
        self.pieces.append(0)

    def on_body(self, data: bytes) -> None:
        self.bodies[-1] += data
        self.pieces[-1] += 1

    def on_request_complete(self) -> None:
        self.complete += 1


def parse(stream: bytes, size: int) -> Requests:
    requests = Requests()
    parser = RequestParser(requests)
    for start in range(0, len(stream), size):
        parser.feed(stream[start : start + size])
        while parser.complete:
            parser.start_next()
    assert not parser.has_unparsed
    return requests


BODIES = {
    "nothing": b"0\r\n\r\n",
    "empty lines": b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
    "what looks like the end": b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "extensions": b"2;a=b\r\nab\r\n0;c\r\n\r\n",
    "trailers": b"2\r\nab\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n",
    "leading zeros": b"0000A\r\n0123456789\r\n000\r\n\r\n",
}
DATA = [b"", b"\r\n" * 4, b"0\r\n\r\n", b"ab", b"ab", b"0123456789"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_requests_end_where_their_chunks_do(size: int) -> None:
    requests = parse(b"".join(HEAD + body for body in BODIES.values()), size)
    assert requests.bodies == DATA
    assert requests.complete == len(BODIES)


def test_data_is_not_searched() -> None:
    data = b"\r\n" * (1 << 19)
    requests = parse(HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data), 1 << 16)
    assert requests.bodies == [data]
    assert requests.pieces[0] <= (len(data) >> 16) + 2


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"g\r\n",
        b"1 \r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b"1\r\nabc",
        b"f" * 17 + b"\r\n",
        b"1\n",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_invalid_chunks_are_refused(body: bytes, size: int) -> None:
    with pytest.raises(RefusedRequest) as refused:
        parse(HEAD + body + b"\r\n0\r\n\r\n", size)
    assert refused.value.status == 400


@pytest.mark.parametrize("line", [b"2;", b"0\r\nX-A: "])
def test_lines_are_bounded_as_they_arrive(line: bytes) -> None:
    parser = RequestParser(Requests())
    parser.feed(HEAD + line)
    parser.feed(b"a" * (MAX_HEAD // 2))
    with pytest.raises(RefusedRequest) as refused:
        parser.feed(b"a" * (MAX_HEAD // 2))
    assert refused.value.status == 431
