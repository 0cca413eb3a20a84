"""A request and its response, as the app sees them."""

import asyncio
import logging
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

log = logging.getLogger("uvicorn.error")

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
HAS_MESSAGE = "framegate.has_message"
"""The name of an extension in the scope: the function `Exchange.has_message`."""

_WITHOUT_BODY = (204, 304)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ERROR = b"Internal Server Error"


class ExchangeOwner(Protocol):
    """The connection of an exchange."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        ...

    def on_response_complete(self) -> None:
        """Close the connection, or await the next request: the whole response has been written."""
        ...


class Exchange:
    """What an app receives and sends for the request of ``scope``.

    The connection adds the request's body. ``keep_alive`` tells whether it is for another request afterwards,
    ``expects_continue`` whether the client still waits to be asked for its body, ``expected_continue`` if
    it did at first. The head of a response with a Content-Length is written together with the first piece of
    its body.
    """

    __slots__ = (
        "_changed",
        "_chunked",
        "_connection",
        "_has_news",
        "_head",
        "_is_bodiless",
        "_left",
        "_scope",
        "body",
        "disconnected",
        "expected_continue",
        "expects_continue",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
    )

    def __init__(
        self, connection: ExchangeOwner, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self._connection = connection
        self._scope = scope
        scope["extensions"] = {HAS_MESSAGE: self.has_message}
        self.keep_alive = keep_alive
        self.expects_continue = self.expected_continue = expects_continue
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._changed: asyncio.Event | None = None
        self._has_news = False
        self._head = b""
        self._chunked = self._is_bodiless = False
        self._left: int | None = None

    def add_body(self, data: bytes) -> None:
        """Take a piece of the request's body; the client is read again once the app has received it."""
        self.expects_continue = False  # it hasn't waited
        self.body += data
        if len(self.body) > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        self._wake()

    def end_body(self) -> None:
        """Take note that the request is complete."""
        self.more_body = False
        self._wake()

    def disconnect(self) -> None:
        """Take note that the client is gone, or gets another answer."""
        self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        self._has_news = True
        if self._changed is not None:
            self._changed.set()

    async def run(self, app: Any) -> None:
        """Call the app, and answer if it fails."""
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as error:
            log.error("Exception in ASGI application\n", exc_info=error)
            await self._end_failed()
        else:
            if not self.response_complete and not self.disconnected:
                log.error("ASGI callable returned without completing response.")
                await self._end_failed()

    async def _end_failed(self) -> None:
        if self.response_started and not self._head:
            self._connection.transport.close()
            return
        self.response_started, self._head = False, b""  # nothing of it has been written yet
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(_ERROR)),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _ERROR})

    def has_message(self) -> bool:
        """Return whether there is something for `receive` to return at once."""
        return self._has_news or self.disconnected or self.response_complete

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the request's body, or that the client is gone or has its response."""
        connection = self._connection
        if self.expects_continue and not connection.transport.is_closing():
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects_continue = False
        if not self.disconnected and not self.response_complete:
            connection.flow.resume_reading()
            if not self._has_news:
                self._changed = self._changed or asyncio.Event()
                await self._changed.wait()
                self._changed.clear()
            self._has_news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": self.more_body}
        self.body.clear()
        return message

    async def send(self, message: Any) -> None:
        """Send a part of the response.

        Raises:
            RuntimeError: It may not come now, has a header that isn't valid, or a body of another length.
                Nothing of it is written then.
        """
        connection = self._connection
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(
                    f"Expected ASGI message 'http.response.start', but got {message['type']!r}."
                )
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            if message["type"] != "http.response.body":
                raise RuntimeError(
                    f"Expected ASGI message 'http.response.body', but got {message['type']!r}."
                )
            self._send_body(message.get("body", b""), more_body=message.get("more_body", False))
        else:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r} after the response.")

    def _start(self, status: int, headers: Any) -> None:
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length: int | None = None
        keep_alive, says_close = self.keep_alive, False
        for name, value in (*self._connection.default_headers, *headers):
            key = _lowered(name)
            if key == b"content-length":
                if not value.isdigit() or length not in (None, int(value)):
                    raise RuntimeError("The response has a Content-Length that is not valid.")
                length = int(value)
            elif key == b"transfer-encoding":
                continue  # the framing follows from the length
            elif key == b"connection":
                says_close = b"close" in value.lower()
                if not says_close:
                    continue
            parts.append(b"%b: %b\r\n" % (name, value))
        has_body = status not in _WITHOUT_BODY
        is_chunked = length is None and has_body and self._scope["http_version"] == "1.1"
        if is_chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif length is None and has_body:
            keep_alive = False  # its end is the connection's
        if says_close:
            keep_alive = False
        elif not keep_alive:
            parts.append(b"Connection: close\r\n")
        head = b"".join(parts)
        if not head.count(b"\r") == head.count(b"\n") == len(parts) or b"\0" in head:
            raise RuntimeError("A header of the response has a line break or a NUL.")
        self.response_started = True
        self.expects_continue = False
        self.keep_alive = keep_alive
        self._is_bodiless = not has_body or self._scope["method"] == "HEAD"
        self._chunked = is_chunked and not self._is_bodiless
        self._left = None if self._is_bodiless else length
        self._head = head + b"\r\n"
        if self._chunked:  # a stream: its first piece may be long in coming
            self._connection.transport.write(self._head)
            self._head = b""

    def _send_body(self, body: bytes, *, more_body: bool) -> None:
        connection = self._connection
        if self._is_bodiless:
            body = b""
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more_body:
                body += b"0\r\n\r\n"
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("The response is longer than its Content-Length.")
            if self._left and not more_body:
                raise RuntimeError("The response is shorter than its Content-Length.")
        if self._head:
            body, self._head = self._head + body, b""
        if body:
            connection.transport.write(body)
        if not more_body:
            self.response_complete = True
            self._wake()
            connection.on_response_complete()


@lru_cache(maxsize=512)
def _lowered(name: bytes) -> bytes:
    """Return the name of a header in lower case, if it is valid."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError("A header of the response has a name that is not valid.")
    return name.lower()
