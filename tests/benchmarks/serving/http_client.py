"""An HTTP/1.1 client that costs little, as it shares the machine with the server that it measures."""

import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

Address: TypeAlias = tuple[str, int]
_HEAD_END = b"\r\n\r\n"
_CHUNK = 1 << 18
PATIENCE = 60.0
"""Seconds until a server that doesn't answer counts as hung."""


def request_bytes(
    method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole request, its ``body`` as JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    content = b"" if body is None else msgspec.json.encode(body)
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Refused(Exception):
    """A request was not answered with a 2xx."""


def take_answer(received: bytearray) -> bytes | None:
    """Remove an answer from the front of what was received, and return its body; None if it is incomplete.

    Raises:
        Refused: Its status is no 2xx.
    """
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return None
    head, start = bytes(received[:head_end]).lower(), head_end + len(_HEAD_END)
    if head[9:10] != b"2":
        raise Refused(bytes(received[:2000]).decode(errors="replace"))
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        end = start + int(head[at + 17 :].partition(b"\r\n")[0])
        if len(received) < end:
            return None
        body = bytes(received[start:end])
    else:
        chunks = _chunks(received, start)
        if chunks is None:
            return None
        body, end = chunks
    del received[:end]
    return body


def _chunks(received: bytearray, start: int) -> tuple[bytes, int] | None:
    """Return the body of an answer in chunks, and where it ends."""
    body = bytearray()
    while (line_end := received.find(b"\r\n", start)) >= 0:
        size = int(received[start:line_end], 16)
        start = line_end + 2 + size + 2
        if len(received) < start:
            return None
        if size == 0:
            return bytes(body), start
        body += received[line_end + 2 : start - 2]
    return None


class Connection:
    """A connection that is kept open."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._sent = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._sent = request
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Read what has arrived, and return the answer's body once it is whole."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise AssertionError("the server closed the connection")
        self._received += data
        try:
            return take_answer(self._received)
        except Refused as refused:
            raise AssertionError(f"{self._sent[:200]!r} was answered with {refused}") from None

    def call(self, request: bytes) -> bytes:
        """Return the body of the answer to a request."""
        self.send(request)
        while (body := self.receive()) is None:
            pass
        return body

    def download(self, request: bytes, into: memoryview) -> int:
        """Return how many bytes the answer's body has, which is thrown away."""
        self.send(request)
        head = bytearray()
        while (end := head.find(_HEAD_END)) < 0:
            head += self.socket.recv(_CHUNK)
        lower = bytes(head[:end]).lower()
        assert lower[9:10] == b"2", lower
        length = int(lower[lower.index(b"content-length:") + 15 :].partition(b"\r\n")[0])
        left = length - (len(head) - end - len(_HEAD_END))
        while left:
            received = self.socket.recv_into(into, min(left, len(into)))
            assert received, "the server closed the connection"
            left -= received
        return length


class Load(Struct, frozen=True):
    """What many requests took: ``seconds`` by the clock, ``own_cpu`` seconds of this process's."""

    answers: Sequence[bytes]
    seconds: float
    own_cpu: float


def drive(address: Address, requests: Sequence[bytes], *, clients: int) -> Load:
    """Send the requests over as many connections as there are clients, each one after the other."""
    left: Iterator[bytes] = iter(requests)
    answers: list[bytes] = []
    connections = [Connection(address) for _ in range(min(clients, len(requests)))]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        began, cpu = time.perf_counter(), time.process_time()
        for connection in connections:
            connection.send(next(left))
        while len(answers) < len(requests):
            ready = selector.select(PATIENCE)
            assert ready, f"no answer within {PATIENCE:g} s"
            for key, _ in ready:
                connection = key.data
                body = connection.receive()
                if body is None:
                    continue
                answers.append(body)
                if request := next(left, None):
                    connection.send(request)
        seconds, own_cpu = time.perf_counter() - began, time.process_time() - cpu
    for connection in connections:
        connection.socket.close()
    return Load(answers, seconds, own_cpu)
