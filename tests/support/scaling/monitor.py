"""What clients send to a Valkey, as its MONITOR shows it."""

import re
import socket
import threading
from codecs import escape_decode
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

_LINE = re.compile(rb"\+(\d+\.\d+) \[\d+ ([^ \]]+)\] (.*)")
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class Command(NamedTuple):
    """A command: when it came (seconds since the epoch), from which client, and its arguments."""

    at: float
    address: str
    arguments: tuple[bytes, ...]

    @property
    def kind(self) -> str:
        """Its name, and for a script its digest."""
        name = self.arguments[0].decode().upper()
        return f"{name} {self.arguments[1].decode()}" if name == "EVALSHA" else name


class Monitor:
    """Collects all commands from entering on; the commands that scripts call are not among them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._commands: list[Command] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Monitor":
        self._socket.sendall(b"MONITOR\r\n")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    @property
    def commands(self) -> Sequence[Command]:
        """What has come so far."""
        return tuple(self._commands)

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                found = _LINE.match(line)
                if found is None or found[2] == b"lua":
                    continue
                arguments = tuple(_unescaped(one) for one in _ARGUMENT.findall(found[3]))
                self._commands.append(Command(float(found[1]), found[2].decode(), arguments))


def _unescaped(text: bytes) -> bytes:
    decoded, _ = escape_decode(text)
    assert isinstance(decoded, bytes)
    return decoded
