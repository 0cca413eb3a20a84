"""Bytes that programs on the way may read as another request than the server does."""

from tests.security.case import RawCase

_SECOND = b"GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
_POST = b"POST /v1/videos HTTP/1.1\r\nHost: {host}\r\n"
_GET = b"GET /health HTTP/1.1\r\nHost: {host}\r\n"


def _post(*headers: bytes, body: bytes = b"") -> bytes:
    return _POST + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def _get(*lines: bytes) -> bytes:
    return _GET + b"".join(lines) + b"\r\n"


_CHUNKED = b"Transfer-Encoding: chunked"

CASES = [
    RawCase(
        name="a length and chunks",
        send=_post(b"Content-Length: 4", _CHUNKED, body=b"0\r\n\r\n" + _SECOND),
    ),
    RawCase(
        name="chunks and a length",
        send=_post(_CHUNKED, b"Content-Length: 6", body=b"0\r\n\r\n" + _SECOND),
    ),
    RawCase(
        name="a length of 0 and chunks",
        send=_post(b"Content-Length: 0", _CHUNKED, body=b"0\r\n\r\n" + _SECOND),
    ),
    RawCase(
        name="two different lengths", send=_post(b"Content-Length: 0", b"Content-Length: 5", body=_SECOND)
    ),
    RawCase(name="two lengths in one header", send=_post(b"Content-Length: 0, 5", body=_SECOND)),
    RawCase(name="a length with a sign", send=_post(b"Content-Length: +5", body=b"12345" + _SECOND)),
    RawCase(name="a negative length", send=_post(b"Content-Length: -5", body=_SECOND)),
    RawCase(name="a length in hexadecimal", send=_post(b"Content-Length: 0x5", body=b"12345" + _SECOND)),
    RawCase(
        name="a length with an underscore", send=_post(b"Content-Length: 1_0", body=b"1234567890" + _SECOND)
    ),
    RawCase(name="a length beyond 64 bits", send=_post(b"Content-Length: 99999999999999999999999")),
    RawCase(name="an empty length", send=_post(b"Content-Length:", body=_SECOND)),
    RawCase(name="a space before the colon", send=_post(b"Content-Length : 5", body=b"12345" + _SECOND)),
    RawCase(
        name="a space before the colon of chunks",
        send=_post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + _SECOND),
    ),
    RawCase(
        name="chunks that are not the last coding",
        send=_post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + _SECOND),
        expect=(400, 401, 501),
    ),
    RawCase(
        name="an unknown coding",
        send=_post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + _SECOND),
        expect=(400, 401, 501),
    ),
    RawCase(
        name="two codings",
        send=_post(_CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + _SECOND),
        expect=(400, 401, 501),
    ),
    RawCase(
        name="chunks behind a vertical tab",
        send=_post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + _SECOND),
        expect=(400, 401, 501),
    ),
    RawCase(
        name="a chunk's size with a sign",
        send=_post(_CHUNKED, body=b"+5\r\n12345\r\n0\r\n\r\n"),
        expect=(400, 401),
    ),
    RawCase(
        name="a chunk's size with 0x",
        send=_post(_CHUNKED, body=b"0x5\r\n12345\r\n0\r\n\r\n"),
        expect=(400, 401),
    ),
    RawCase(
        name="a chunk's size beyond 64 bits",
        send=_post(_CHUNKED, body=b"f" * 40 + b"\r\n12345\r\n0\r\n\r\n"),
        expect=(400, 401),
    ),
    RawCase(
        name="a negative chunk's size",
        send=_post(_CHUNKED, body=b"-1\r\n12345\r\n0\r\n\r\n"),
        expect=(400, 401),
    ),
    RawCase(
        name="a chunk longer than its size",
        send=_post(_CHUNKED, body=b"3\r\n12345\r\n0\r\n\r\n" + _SECOND),
        expect=(400, 401),
    ),
    RawCase(
        name="a chunk extension with a line feed",
        send=_post(_CHUNKED, body=b"0;x\ny\r\n\r\n" + _SECOND),
        expect=(400, 401),
    ),
    RawCase(
        name="a chunk extension of 200 kB",
        send=_post(_CHUNKED, body=b"1;" + b"x" * 200_000 + b"\r\nx\r\n0\r\n\r\n"),
        expect=(400, 401, 413, 431),
    ),
    RawCase(
        name="trailers that claim to be headers",
        send=_post(_CHUNKED, body=b"0\r\nContent-Length: 50\r\nAuthorization: Bearer x\r\n\r\n"),
        expect=(400, 401),
    ),
    RawCase(name="a header over two lines", send=_get(b"X-Folded: a\r\n b\r\n"), expect=(200, 400)),
    RawCase(
        name="a header line that begins with a space",
        send=_GET.replace(b"\r\nHost", b"\r\n X: y\r\nHost") + b"\r\n",
        expect=(200, 400),
    ),
    RawCase(
        name="line feeds alone",
        send=b"GET /health HTTP/1.1\nHost: {host}\n\n" + _SECOND.replace(b"\r\n", b"\n"),
        expect=(200, 400),
        answers=2,
    ),
    RawCase(name="carriage returns alone", send=b"GET /health HTTP/1.1\rHost: {host}\r\r", expect=()),
    RawCase(name="a carriage return in a header", send=_get(b"X-A: b\rX-C: d\r\n")),
    RawCase(name="a null in a header", send=_get(b"X-A: b\0c\r\n")),
    RawCase(name="a null in the path", send=b"GET /hea\0lth HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    RawCase(name="an empty header name", send=_get(b": empty\r\n")),
    RawCase(name="a header without a colon", send=_get(b"NoColonHere\r\n")),
    RawCase(name="a header name with a space", send=_get(b"X Y: z\r\n")),
    RawCase(name="a header name in brackets", send=_get(b"X[0]: z\r\n"), expect=(200, 400)),
    RawCase(name="an escape in a header", send=_get(b"X-A: \x1b]0;owned\x07\r\n"), expect=(200, 400)),
    RawCase(name="10,000 headers", send=_get(b"X-A: b\r\n" * 10_000), expect=(200, 400, 431)),
    RawCase(name="a header of 1 MB", send=_get(b"X-A: " + b"b" * 1_000_000 + b"\r\n"), expect=(400, 431)),
    RawCase(name="a header name of 1 MB", send=_get(b"X" * 1_000_000 + b": b\r\n"), expect=(400, 431)),
    RawCase(
        name="a path of 1 MB",
        send=b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 404, 414, 431),
    ),
    RawCase(
        name="a query of 50 kB",
        send=b"GET /v1/videos?"
        + b"&".join(b"a%d=1" % n for n in range(6_000))
        + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 401, 414, 431),
    ),
    RawCase(name="no host", send=b"GET /health HTTP/1.1\r\n\r\n", expect=(200, 400)),
    RawCase(name="two hosts", send=_get(b"Host: other.example\r\n"), expect=(200, 400)),
    RawCase(
        name="a host with a path",
        send=b"GET /health HTTP/1.1\r\nHost: x/../y\r\n\r\n",
        expect=(200, 400),
    ),
    RawCase(
        name="an absolute target of another host",
        send=b"GET http://other.example/v1/videos HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 401, 404),
    ),
    RawCase(
        name="a target with a user",
        send=b"GET http://a@b/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(200, 400, 404),
    ),
    RawCase(
        name="the method CONNECT",
        send=b"CONNECT other.example:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 404, 405, 501),
    ),
    RawCase(
        name="the method TRACE",
        send=b"TRACE /health HTTP/1.1\r\nHost: {host}\r\nX-Secret: yes\r\n\r\n",
        expect=(400, 404, 405, 501),
    ),
    RawCase(
        name="an unknown method",
        send=b"SMUGGLE /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 405, 501),
    ),
    RawCase(
        name="a method in small letters",
        send=b"get /health HTTP/1.1\r\nHost: {host}\r\n\r\n",
        expect=(400, 405, 501),
    ),
    RawCase(
        name="an unknown version",
        send=b"GET /health HTTP/9.9\r\nHost: {host}\r\n\r\n",
        expect=(200, 400, 505),
    ),
    RawCase(name="no version", send=b"GET /health\r\n\r\n", expect=()),
    RawCase(name="HTTP/2 without asking", send=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", expect=(), answers=2),
    RawCase(
        name="an upgrade to h2c",
        send=_get(
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        ),
        expect=(200, 400, 426),
    ),
    RawCase(
        name="an upgrade to a WebSocket",
        send=_get(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ),
        expect=(200, 400, 403, 404, 405, 426, 500),
    ),
    RawCase(name="TLS", send=bytes.fromhex("16030100a5010000a10303") + bytes(150), expect=()),
    RawCase(name="zeros", send=bytes(10_000), expect=()),
    RawCase(
        name="a body with a GET", send=_GET + b"Content-Length: 40\r\n\r\n" + b"x" * 40, expect=(200, 400)
    ),
]
