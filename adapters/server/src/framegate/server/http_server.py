"""uvicorn's server, which reports when it takes requests and when it is interrupted."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import FrameType

import structlog
import uvicorn

from framegate.server.connections.acceptor import Acceptor
from framegate.server.connections.protocol import TrackedProtocol
from framegate.server.connections.server_config import ServerConfig
from framegate.server.process_state import ProcessState

log = structlog.get_logger(__name__)

_LAST_WORDS_SECONDS = 2.0
"""How long requests that were cut off have to say so: streams end with an event."""


class HttpServer(uvicorn.Server):
    """uvicorn's server for ``config``.

    ``on_started`` is called when requests are taken, ``on_stop`` after the first SIGINT or SIGTERM, and
    ``on_interrupt`` after each SIGINT that follows: nothing is waited for any more. All of them are called by
    the event loop.

    From the first signal on ``process`` is stopping, as ``/ready`` says. After SIGTERM requests are taken for
    another ``delay`` seconds, in which load balancers learn to send them elsewhere.
    """

    def __init__(
        self,
        config: ServerConfig,
        process: ProcessState,
        *,
        delay: float,
        on_started: Callable[[], None],
        on_stop: Callable[[], None],
        on_interrupt: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._server_config = config
        self._process = process
        self._delay = delay
        self._acceptors: list[Acceptor] = []
        self._loop = asyncio.get_running_loop()
        # Signals are handled in the context of what just runs: its request would be on the lines of the log.
        self._context = copy_context()
        self._on_started = on_started
        self._on_stop = on_stop
        self._on_interrupt = on_interrupt

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to take requests from ``sockets``."""
        await self.lifespan.startup()
        create_protocol = partial(
            TrackedProtocol, self._server_config, self.server_state, self.lifespan.state
        )
        self._acceptors = [
            Acceptor(listener, create_protocol, backlog=self.config.backlog) for listener in sockets or ()
        ]
        self.servers = []
        self.started = True
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to take requests, and end those that take too long."""
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal to stop."""
        is_first, self._process.stopping = not self._process.stopping, True
        if sig != signal.SIGTERM or not self._delay:
            self._stop(sig, frame)
        elif is_first:
            self._call_soon(partial(self._leave, sig, frame))

    def _leave(self, sig: int, frame: FrameType | None) -> None:
        log.info("server_leaving", stops_in=self._delay)
        self._loop.call_later(self._delay, self._stop, sig, frame)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._call_soon(self._on_stop)  # wakes it up, too
        elif sig == signal.SIGINT:
            self._call_soon(self._on_interrupt)
        super().handle_exit(sig, frame)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(callback, context=self._context)
