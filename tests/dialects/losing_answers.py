"""A proxy before a server whose answers get lost."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from tests.support.quiet_handler import Quiet


@contextmanager
def losing_answers(server: str, losses: int) -> Generator[tuple[str, list[str]]]:
    """Yield the address of a proxy that loses each client's first answers, and all retry counts."""
    seen: list[str] = []

    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            retries = self.headers["x-stainless-retry-count"]
            seen.append(retries)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            answer = requests.post(server + self.path, body, headers=headers, timeout=60)
            if int(retries) < losses:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}", seen
        finally:
            proxy.shutdown()
            thread.join()
