"""A TCP relay whose connections can fall silent, as when a host is gone or a firewall forgets them."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.support.ports import free_port


class SilentRelay:
    """Relays the connections that it accepts on ``port`` to the server of ``url``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self.port = free_port()
        self.url = url.replace(f":{parts.port}", f":{self.port}")
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def accepted(self) -> int:
        """How many connections there have been so far."""
        return len(self._connections)

    def silence(self) -> None:
        """Pass on nothing more of the connections that there are, and close none; later ones work."""
        with self._lock:
            for connection in self._connections:
                connection.silent.set()

    def close(self) -> None:
        """Close the listener and all connections."""
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._connections.append(_Connection(client, self._target))


class _Connection:
    def __init__(self, client: socket.socket, target: tuple[str | None, int | None]) -> None:
        self.silent = threading.Event()
        server = socket.create_connection(target)
        self._sockets = (client, server)
        for source, destination in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, destination), daemon=True).start()

    def _pump(self, source: socket.socket, destination: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.silent.is_set():
                    destination.sendall(data)
        if not self.silent.is_set():
            self.close()

    def close(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def silent_relay(url: str) -> Generator[SilentRelay]:
    """Run a relay to the server of ``url``."""
    relay = SilentRelay(url)
    try:
        yield relay
    finally:
        relay.close()
