"""A reverse proxy for tests: TLS, and a server below a path."""

import socket
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import trustme

_MOST = 2**16


@contextmanager
def tls_proxy(port: int, prefix: str, folder: Path) -> Generator[tuple[str, Path]]:
    """Serve the loopback server at ``port`` below ``prefix``; yield the URL and the authority's certificate.

    Every connection carries one request.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(trusted)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                head, _, rest = _read_head(client).partition(b"\r\n\r\n")
                first, *headers = head.decode("latin-1").split("\r\n")
                method, target, version = first.split()
                if not target.startswith(f"{prefix}/"):
                    client.sendall(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    return
                host = next(line.partition(": ")[2] for line in headers if line.lower().startswith("host:"))
                headers = [line for line in headers if not line.lower().startswith("connection:")]
                headers += [
                    "Connection: close",
                    "X-Forwarded-Proto: https",
                    f"X-Forwarded-Host: {host}",
                    f"X-Forwarded-Prefix: {prefix}",
                ]
                lines = [f"{method} {target.removeprefix(prefix)} {version}", *headers]
                with socket.create_connection(("127.0.0.1", port)) as server:
                    server.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + rest)
                    sending = threading.Thread(target=_copy, args=(client, server))
                    sending.start()
                    _copy(server, client)
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RDWR)
                    sending.join()

    class Server(ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://localhost:{server.server_address[1]}{prefix}", trusted
        finally:
            server.shutdown()
            thread.join()


def _read_head(client: ssl.SSLSocket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = client.recv(_MOST)
        if not part:
            raise ConnectionError("no request")
        head += part
    return head


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(_MOST):
            target.sendall(part)
