"""Hold the servers that clients name to an honest use of HTTP: little around the content.

Interim responses, header fields, chunk sizes and trailers cost time for every line and may go on forever, and
HTTP clients read all of them. So the bytes of a connection are counted below HTTP, and it is cut off when too
many of them are not content.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

MAX_RESPONSES = 16
"""Interim responses and the final one."""
UNREAD_BYTES = 640 * 1024
"""What may have been received and not yet read as content: the head, and what is buffered."""
OVERHEAD = 1 / 32
"""Bytes around each byte of content; chunks of 220 bytes have as many. Smaller ones are costly to parse."""
MAX_LINES = 2000
BYTES_A_LINE = 128
"""Line ends of a chunked response: so many, and one more for so many bytes. A chunk has two of them."""
_CHUNKED = b"chunked"


class Meter(asyncio.Protocol):
    """Pass on what a connection receives, and abort it when more arrives than is allowed.

    ``exceeded`` tells whether that happened.
    """

    def __init__(self) -> None:
        self._left = UNREAD_BYTES
        self._responses_left = MAX_RESPONSES
        self._lines_left = MAX_LINES
        self._in_head, self._chunked, self._head_tail = True, False, b""
        self._protocol: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self.exceeded = False

    def insert(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Count what ``transport`` receives from now on, before ``protocol`` gets it."""
        self._transport, self._protocol = transport, protocol
        transport.set_protocol(self)

    def begin_content(self) -> None:
        """Note that the final response's head was read, and its content is now."""
        self._in_head = False

    def count_content(self, size: int) -> None:
        """Allow as much to arrive as was read."""
        self._left += round(size * (1 + OVERHEAD))

    def data_received(self, data: bytes) -> None:
        """Count received bytes."""
        assert self._protocol is not None
        assert self._transport is not None
        self._left -= len(data)
        if self._in_head:
            self._responses_left -= data.count(b"\nHTTP/1.")
            head = self._head_tail + data.lower()
            self._chunked = self._chunked or _CHUNKED in head
            self._head_tail = head[1 - len(_CHUNKED) :]
        if self._chunked:
            # Before they are parsed: thousands of chunks take the event loop as many callbacks at once.
            self._lines_left += len(data) // BYTES_A_LINE - data.count(b"\r\n")
        if min(self._left, self._responses_left, self._lines_left) >= 0:
            self._protocol.data_received(data)
        else:
            self.exceeded = True
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        assert self._protocol is not None
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        assert self._protocol is not None
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        assert self._protocol is not None
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        assert self._protocol is not None
        self._protocol.resume_writing()


class MeteredConnector(aiohttp.TCPConnector):
    """A connector for one request, whose connection ``meter`` counts."""

    def __init__(self, meter: Meter, **options: Any) -> None:
        super().__init__(**options)
        self._meter = meter

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  # aiohttp's own name and type
    ) -> Connection:
        """Connect, and put the meter below HTTP."""
        connection = await super().connect(req, traces, timeout)
        protocol, transport = connection.protocol, connection.transport
        if protocol is not None and transport is not None:
            self._meter.insert(transport, protocol)
        return connection
