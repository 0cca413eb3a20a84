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
        self._target = (str(parts.hostname), int(parts.port or 0))
        self.port = free_port()
        self.url = url.replace(f":{parts.port}", f":{self.port}")
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

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
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._connections.append(_Connection(client, server))


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.silent = threading.Event()
        self._sockets = (client, server)
        self._pumps = [
            threading.Thread(target=self._pump, args=ends, daemon=True)
            for ends in ((client, server), (server, client))
        ]
        for pump in self._pumps:
            pump.start()

    def _pump(self, source: socket.socket, destination: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.silent.is_set():
                    destination.sendall(data)
        if not self.silent.is_set():
            self._shut_down()

    def _shut_down(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._shut_down()
        for pump in self._pumps:
            pump.join()
        for end in self._sockets:
            end.close()


@contextmanager
def silent_relay(url: str) -> Generator[SilentRelay]:
    """Run a relay to the server of ``url``."""
    relay = SilentRelay(url)
    try:
        yield relay
    finally:
        relay.close()
