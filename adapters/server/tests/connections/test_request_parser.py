"""Requests that proxies may read in another way, and those that cost more than they carry."""

import json

import pytest

from tests.support.http_stand import Stand
from tests.support.raw_http import RawResponse, open_socket, read_all, read_response

SMUGGLED = b"GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def send(stand: Stand, *pieces: bytes) -> RawResponse:
    with open_socket(stand.url) as client:
        for piece in pieces:
            client.sendall(piece)
        return read_all(client)


def post(*headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"POST /v1/tasks/video HTTP/" + version, b"Host: localhost", b"Content-Type: application/json"]
    return b"\r\n".join([*lines, *headers, b"", b""])


CHUNKED = post(b"Transfer-Encoding: chunked")

MALFORMED = {
    "CL and TE": post(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "TE and CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n",
    "TE in HTTP/1.0": post(b"Transfer-Encoding: chunked", version=b"1.0") + b"0\r\n\r\n",
    "two lengths": post(b"Content-Length: 4", b"Content-Length: 5") + b"{}{}",
    "two lengths in one": post(b"Content-Length: 4, 5") + b"{}{}",
    "signed length": post(b"Content-Length: +4") + b"{}{}",
    "negative length": post(b"Content-Length: -4") + b"{}{}",
    "hexadecimal length": post(b"Content-Length: 0x4") + b"{}{}",
    "length with a blank": post(b"Content-Length: 1 0") + b"{}{}",
    "folded header": post(b"X-A: b", b" c", b"Content-Length: 2") + b"{}",
    "folded with a tab": post(b"Transfer-Encoding:", b"\tchunked") + b"0\r\n\r\n",
    "fold before all": post(b" Host: x", b"Content-Length: 2") + b"{}",
    "bare CR": post(b"X-A: b\rContent-Length: 2") + b"{}",
    "bare LF": post(b"X-A: b\nContent-Length: 2") + b"{}",
    "LF only": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "LF at the end": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\n",
    "NUL": post(b"X-A: b\0c", b"Content-Length: 2") + b"{}",
    "blank before a colon": post(b"Content-Length : 2") + b"{}",
    "no header name": post(b": 2") + b"{}",
    "no colon": post(b"Content-Length 2") + b"{}",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "blanks in the request line": b"GET  /health  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "0x in a chunk size": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "huge chunk size": CHUNKED + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk size ends with LF": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "chunk without its end": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "malformed trailer": CHUNKED + b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_ambiguous_requests_are_refused(shared_stand: Stand, request_: bytes) -> None:
    answer = send(shared_stand, request_ + SMUGGLED)
    assert answer.status == 400, answer.data
    assert answer.count == 1, "what follows was taken for a request"
    assert answer.closed
    head, _, body = answer.data.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert b"Connection: close" in head
    assert json.loads(body)["code"] == "invalid_request"
    assert "bytearray" not in json.loads(body)["detail"]


@pytest.mark.parametrize(
    "encoding", [b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b"xchunked"]
)
def test_other_transfer_encodings_are_refused(shared_stand: Stand, encoding: bytes) -> None:
    answer = send(shared_stand, post(b"Transfer-Encoding: " + encoding) + b"0\r\n\r\n" + SMUGGLED)
    assert (answer.status, answer.count, answer.closed) == (501, 1, True)


@pytest.mark.parametrize("version", [b"2.0", b"3.0", b"0.9"])
def test_other_versions_are_refused(shared_stand: Stand, version: bytes) -> None:
    answer = send(shared_stand, b"PRI * HTTP/" + version + b"\r\nHost: localhost\r\n\r\n" + SMUGGLED)
    assert (answer.status, answer.count, answer.closed) == (505, 1, True)


@pytest.mark.parametrize("piece", [1, 7, 64 * 1024])
def test_rules_hold_however_the_head_is_split(shared_stand: Stand, piece: int) -> None:
    head = MALFORMED["folded header"]
    answer = send(shared_stand, *(head[start : start + piece] for start in range(0, len(head), piece)))
    assert (answer.status, answer.count) == (400, 1)


def test_rules_hold_for_the_second_request_in_a_packet(shared_stand: Stand) -> None:
    with open_socket(shared_stand.url) as client:
        client.sendall(SMUGGLED.replace(b"smuggled", b"localhost") + MALFORMED["CL and TE"])
        answer = read_all(client, seconds=20)
    assert (answer.count, answer.status, answer.closed) == (2, 400, True)


def test_requests_in_one_packet_are_answered_in_turn(shared_stand: Stand) -> None:
    call = SMUGGLED.replace(b"smuggled", b"localhost")
    with open_socket(shared_stand.url) as client:
        client.sendall(call * 20 + call[:-2] + b"Connection: close\r\n\r\n")
        answer = read_all(client)
    assert (answer.count, answer.status, answer.closed) == (21, 200, True)


def test_an_upgrade_is_not_taken(shared_stand: Stand) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with open_socket(shared_stand.url) as client:
        for _ in range(2):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + upgrade)
            assert read_response(client).status == 200


HEADS = {
    "url": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "query": (b"GET /health?" + b"a=1&" * 250_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "half a url": (b"GET /" + b"a" * 20_000, 414),
    "header": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "half a header": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 1_000_000, 431),
    "headers": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 60_000 + b"\r\n", 431),
    "half the headers": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 60_000, 431),
    "trailers": (CHUNKED + b"0\r\n" + b"a:\r\n" * 60_000 + b"\r\n", 431),
    "half a trailer": (CHUNKED + b"0\r\nX-A: " + b"a" * 1_000_000, 431),
    "chunk extension": (CHUNKED + b"2;" + b"a" * 1_000_000, 431),
}


@pytest.mark.parametrize(("head", "status"), HEADS.values(), ids=HEADS)
def test_heads_are_bounded(shared_stand: Stand, head: bytes, status: int) -> None:
    answer = send(shared_stand, head)
    assert (answer.status, answer.count, answer.closed) == (status, 1, True), answer.data


def test_ordinary_heads_pass(shared_stand: Stand) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 200) for number in range(150))
    with open_socket(shared_stand.url) as client:
        for path in (b"/health", b"/health?" + b"a=1&" * 3000):
            client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
            assert read_response(client).status == 200


def test_a_body_of_tiny_chunks_is_refused(shared_stand: Stand) -> None:
    tiny = b"1\r\n \r\n" * 5000 + b"2\r\n{}\r\n0\r\n\r\n"
    answer = send(shared_stand, CHUNKED + tiny)
    assert (answer.status, answer.count, answer.closed) == (400, 1, True)
    assert b"chunks" in answer.data


def test_chunk_extensions_larger_than_the_body_are_refused(shared_stand: Stand) -> None:
    with open_socket(shared_stand.url) as client:
        client.sendall(CHUNKED + (b"1;x=" + b"a" * 30_000 + b"\r\n \r\n") * 40)
        answer = read_all(client)
    assert (answer.status, answer.closed) == (400, True)
    assert b"extensions" in answer.data


def test_ordinary_chunks_pass(shared_stand: Stand) -> None:
    body = b'{"prompt": "' + b"x" * 3000 + b'"}'
    chunks = b"".join(b"1;a=b\r\n" + body[at : at + 1] + b"\r\n" for at in range(1000))
    chunks += b"%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body) - 1000, body[1000:])
    with open_socket(shared_stand.url) as client:
        client.sendall(CHUNKED + chunks)
        assert read_response(client).status == 200
