"""Connections that can't be accepted yet."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from framegate.server.connections import acceptor
from framegate.server.event_loop import new_event_loop


class Greeting(asyncio.Protocol):
    """Say hello, and close the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's transport
        transport.write(b"hello")
        transport.close()


class FullListener(socket.socket):
    """A listening socket of a process that has no file descriptor left for the first ``refusals`` calls."""

    refusals = 0
    calls = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.calls <= self.refusals:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.parametrize("create_loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "ours"])
def test_connections_wait_for_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, create_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    monkeypatch.setattr(acceptor, "_PAUSE_SECONDS", 0.01)

    async def greet() -> bytes:
        with closing(FullListener()) as listener:
            listener.refusals = 3
            listener.bind(("127.0.0.1", 0))
            accepting = acceptor.Acceptor(listener, Greeting, backlog=10)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            greeting = await reader.read()
            writer.close()
            accepting.close()
        return greeting

    with capture_logs() as lines, asyncio.Runner(loop_factory=create_loop) as runner:
        assert runner.run(greet()) == b"hello"
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("accept_failed", "Too many open files")
    ] * 3
