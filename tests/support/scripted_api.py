"""An HTTP server that answers as a test has written down, and remembers what it was asked."""

import json
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct


class Reply(Struct):
    """An answer. With ``cut`` the connection ends after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    cut: int | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> "Reply":
        """Return an answer in JSON; ``retry_after`` is the header Retry-After."""
        kind = "application/json" if status < 400 else "application/problem+json"
        named = {name.replace("_", "-").title(): text for name, text in headers.items()}
        return cls(status, json.dumps(value).encode(), {"Content-Type": kind, **named})

    @classmethod
    def events(cls, *jobs: Any) -> "Reply":
        """Return a stream of a job's states, which then ends."""
        lines = "".join(f"event: job\ndata: {json.dumps(job)}\n\n: heartbeat\n\n" for job in jobs)
        return cls(200, lines.encode(), {"Content-Type": "text/event-stream"})


class Asked(Struct):
    """A request that has come."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedApi:
    """Answers by method and path; the last of several is repeated."""

    def __init__(self, replies: Mapping[str, Reply | list[Reply]]) -> None:
        self.replies = {
            name: [*reply] if isinstance(reply, list) else [reply] for name, reply in replies.items()
        }
        self.asked: list[Asked] = []
        self.url = ""

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        waiting = self.replies.get(f"{asked.method} {asked.path.partition('?')[0]}")
        if not waiting:
            return Reply.of({"title": "Not Found", "status": 404, "detail": f"No route {asked.path}."}, 404)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextmanager
def scripted_api(
    replies: Mapping[str, Reply | list[Reply]], *, tls: ssl.SSLContext | None = None
) -> Generator[ScriptedApi]:
    """Serve ``replies`` ("GET /api/v1/jobs") on a loopback port while the block lasts."""
    api = ScriptedApi(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if headers.get("transfer-encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            reply = api.reply(Asked(self.command, self.path, headers, body))
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True

        do_GET = do_POST = do_DELETE = answer  # noqa: N815  # the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    api.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
