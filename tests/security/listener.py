"""What hostile URLs lead to: a listener that only counts, and a web server that sends its visitors on."""

import gzip
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tests.support.quiet_handler import Quiet

RESOLVER = """
import itertools, socket, time
_real = socket.getaddrinfo
_answers = {
    "pictures.test": [["127.0.0.1"]],
    "loopback.test": [["127.0.0.1"]],
    "metadata.test": [["169.254.169.254"]],
    "six.test": [["::1"]],
    "both.test": [["10.255.255.1", "127.0.0.1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "rebinding.test": [["192.0.2.1"], ["127.0.0.1"]],
    "shared.test": [["100.64.0.1", "192.168.0.1", "::1"]],
}
_turns = {name: itertools.cycle(answers) for name, answers in _answers.items()}
def _resolve(host, port, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.rstrip(".") in _turns:
        found = next(_turns[name.rstrip(".")])
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, int(port or 0), 0, 0)) if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port or 0)))
            for each in found
        ]
    if name.endswith(".slow.test"):
        time.sleep(2.5)
    if name.endswith((".test", ".example")) or not name.isascii():
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _real(host, port, *args, **kwargs)
socket.getaddrinfo = _resolve
"""
"""The server's ``sitecustomize``: a name server of the attacker's, who may answer differently each time."""


class Listener:
    """Accept connections on every address of this machine, and count them."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


class _Pictures(Quiet, BaseHTTPRequestHandler):
    """``/to?URL`` redirects to the URL; the other paths are named by what is wrong with them."""

    def do_GET(self) -> None:
        path, _, target = self.path.partition("?")
        match path:
            case "/to":
                self._redirect(unquote(target))
            case "/loop":
                self._redirect("/loop")
            case "/endless":
                self._send({"Content-Type": "image/png"}, b"")
                with suppress(OSError):
                    for _ in range(50):
                        self.wfile.write(b"x")
                        self.wfile.flush()
                        time.sleep(0.2)
            case "/huge":
                self._send({"Content-Length": str(2**40)}, b"x" * 1000)
            case "/chunks":
                self._send({"Transfer-Encoding": "chunked"}, b"")
                with suppress(OSError):
                    for _ in range(100):
                        self.wfile.write(b"1\r\na\r\n" * 20_000)
            case "/large":
                self._send({"Content-Length": str(49_000_000)}, b"")
                with suppress(OSError):
                    for _ in range(48):
                        self.wfile.write(bytes(1_000_000))
                    time.sleep(2)
                    self.wfile.write(bytes(1_000_000))
            case "/gzip":
                self._send({"Content-Encoding": "gzip"}, gzip.compress(bytes(10_000_000)))
            case "/html":
                self._send({"Content-Type": "text/html"}, b"<html></html>")
            case "/playlist":
                self._send({}, b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
            case "/concat":
                self._send({}, b"ffconcat version 1.0\nfile '/etc/passwd'\n")
            case "/bad":
                with suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nX" + b"y" * 100_000)
            case _:
                self._send({}, b"")
        self.close_connection = True

    def _redirect(self, target: str) -> None:
        # Byte for byte: `send_header` would not take everything that a hostile server sends.
        head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
        with suppress(OSError):
            self.wfile.write(head + target.encode("utf-8", "replace") + b"\r\n\r\n")

    def _send(self, headers: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)


@contextmanager
def hostile_pictures() -> Generator[int]:
    """Serve on 127.0.0.1; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as web:
        web.daemon_threads = True
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield web.server_address[1]
        web.shutdown()
        thread.join()
