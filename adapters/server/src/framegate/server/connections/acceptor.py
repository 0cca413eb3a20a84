"""Accept connections, and wait where the process may open no more files."""

import asyncio
import os
import socket
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 1.0
_AT_ONCE = 64
"""The connections that are accepted before others are served again."""


class Acceptor:
    """Serve each connection to ``listener`` by a protocol of its own; start it where an event loop runs.

    While none can be accepted, because the process has no file descriptor left, they wait in the backlog, and
    one line a second says so. An event loop's own server isn't used: uvloop's drops them then, or stops to
    listen for good, without a word.
    """

    def __init__(
        self, listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol], *, backlog: int
    ) -> None:
        self._listener = listener
        self._create_protocol = create_protocol
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        listener.listen(backlog)
        self._watch()

    def close(self) -> None:
        """Accept no more; whoever has opened the socket closes it."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._listener)

    def _watch(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("accept_failed", reason=os.strerror(error.errno) if error.errno else str(error))
                self._loop.remove_reader(self._listener)
                self._retry = self._loop.call_later(_PAUSE_SECONDS, self._watch)
                return
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._create_protocol, connection)
        except OSError:
            connection.close()  # the client is gone already
