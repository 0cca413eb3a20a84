"""Webhook receivers on loopback."""

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeAlias

import openai
import pytest
from msgspec import Struct
from openai.types.webhooks import UnwrapWebhookEvent

from tests.support.ports import free_port
from tests.support.quiet_handler import Quiet

# whsec_ and the base64 of 32 bytes.
SECRET = "whsec_ZnJhbWVnYXRlLXRlc3RzLWtlZXAtbm8tc2VjcmV0cyE="
OLD_SECRET = "whsec_YW5vdGhlci1vbmUtb2YtdGhpcnR5LXR3by1ieXRlcy4="


class Received(Struct, frozen=True):
    """A request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """The event's id, the same in each attempt."""
        return self.headers["webhook-id"]

    def unwrapped(self, secret: str = SECRET) -> UnwrapWebhookEvent:
        """Return the event, as the SDK reads it after it has verified it."""
        client = openai.OpenAI(api_key="none", webhook_secret=secret)
        return client.webhooks.unwrap(self.body, dict(self.headers))


Respond: TypeAlias = Callable[[Received], int | tuple[int, Mapping[str, str]]]


def answering(status: int) -> Respond:
    """Answer everything with this status."""
    return lambda _: status


class Receiver:
    """Keeps what it gets, and answers with the status (and headers) that ``respond`` says."""

    def __init__(self, respond: Respond | None = None, *, host: str = "127.0.0.1") -> None:
        self.respond = respond or answering(200)
        self.received: list[Received] = []
        self._host = host
        self._port = free_port()
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """Its port, the same after each start."""
        return self._port

    def start(self) -> None:
        """Listen, on the same port as before."""
        receiver = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, body, time.time())
                receiver.received.append(received)
                answer = receiver.respond(received)
                no_headers: Mapping[str, str] = {}
                status, extra = answer if isinstance(answer, tuple) else (answer, no_headers)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **extra}.items():
                    self.send_header(name, value)
                self.end_headers()

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # whoever was sending has hung up

        self._server = Server((self._host, self._port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening; what it has received stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class StartReceiver(Protocol):
    """What the fixture `start_receiver` gives."""

    def __call__(self, respond: Respond | None = None, *, host: str = ...) -> Receiver: ...


@pytest.fixture
def start_receiver() -> Iterator[StartReceiver]:
    """Start receivers; they are stopped at the end."""
    started: list[Receiver] = []

    def start(respond: Respond | None = None, *, host: str = "127.0.0.1") -> Receiver:
        receiver = Receiver(respond, host=host)
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.stop()


class SilentReceiver:
    """Accepts connections, and never answers; ``connections`` is how many it has had."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections it has had."""
        return len(self._open)

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                self._open.append(self._listener.accept()[0])

    def close(self) -> None:
        """Hang up."""
        # A thread that accepts keeps the socket open until it is woken.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()


@contextmanager
def silent_receivers(count: int) -> Generator[Sequence[SilentReceiver]]:
    """Run ``count`` receivers that never answer."""
    silent = [SilentReceiver() for _ in range(count)]
    try:
        yield silent
    finally:
        for each in silent:
            each.close()
