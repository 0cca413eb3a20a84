"""HTTP by hand, for what no client library sends."""

import re
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class RawResponse(Struct, frozen=True):
    """What came back until the server closed the connection, or sent no more."""

    data: bytes
    closed: bool

    @property
    def status(self) -> int:
        """The status of the last response, 0 if there is none."""
        found = _STATUS_LINE.findall(self.data)
        return int(found[-1]) if found else 0

    @property
    def count(self) -> int:
        """How many responses came."""
        return len(_STATUS_LINE.findall(self.data))


def open_socket(url: str, *, timeout: float = 30) -> socket.socket:
    """Connect to the server at ``url``."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout)


def read_all(client: socket.socket, *, seconds: float = 30) -> RawResponse:
    """Read until the server closes the connection, for ``seconds`` at most."""
    data, deadline = b"", time.monotonic() + seconds
    with suppress(TimeoutError):
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            try:
                piece = client.recv(65536)
            except ConnectionError:
                return RawResponse(data, closed=True)
            if not piece:
                return RawResponse(data, closed=True)
            data += piece
    return RawResponse(data, closed=False)


def read_response(client: socket.socket) -> RawResponse:
    """Read one response that has a Content-Length."""
    client.settimeout(30)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body)
    while missing > 0:
        piece = client.recv(65536)
        assert piece, data
        data += piece
        missing -= len(piece)
    return RawResponse(data, closed=False)
