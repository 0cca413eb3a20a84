"""Keep the API processes running, and tell them what they need to know."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from framegate.cli.own_workers import OwnWorkersReport
from framegate.cli.supervisor import ProcessSupervisor, Slot, spawn
from framegate.server.api_processes.messages import (
    FAILED,
    PREPARED,
    Conclude,
    Message,
    Prepare,
    Start,
    encode,
)
from framegate.server.listening import SharedPort

log = structlog.get_logger(__name__)

_PREPARE_SECONDS = 60.0
"""How long a process may take to get ready for another config."""


class ApiSlot(Slot):
    """One of the API processes.

    ``reply`` is set while it prepares a config, for whether it can be used. ``start`` returns the first
    message for a process, ``on_start`` is called when it takes requests, ``on_failure`` when it has ended
    before that.
    """

    def __init__(
        self,
        number: int,
        *,
        start: Callable[[], Start],
        on_start: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        super().__init__(str(number))
        self._start = start
        self._on_start = on_start
        self._on_failure = on_failure
        self.has_failed = False
        self._in_order = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        self.reply: asyncio.Future[bool] | None = None

    def opened(self, pid: int, channel: socket.socket) -> None:
        """Send the first message to a new process."""
        super().opened(pid, channel)
        self.send(self._start())

    def received(self, data: bytes) -> None:
        """Note that the process takes requests, or what it answers."""
        if not self.has_started:
            self._on_start()
        super().received(data)
        if PREPARED in data or FAILED in data:
            self._resolve(usable=FAILED not in data)

    def closed(self) -> None:
        """Note that the process has ended; the next one starts with the config in force."""
        if not self.has_started:
            self.has_failed = True
            self._on_failure()
        super().closed()
        self._resolve(usable=True)
        self.reply = None

    def prepare(self, config: str) -> asyncio.Future[bool]:
        """Let the process get ready for another config; return whether it can use it."""
        self.reply = asyncio.get_running_loop().create_future()
        self.send(Prepare(config))
        return self.reply

    def send(self, message: Message) -> None:
        """Send a message, if there is a process, after those that were sent before."""
        if self.channel is not None:
            task = asyncio.create_task(self._deliver(self.channel, encode(message)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, channel: socket.socket, line: bytes) -> None:
        async with self._in_order:
            if self.channel is channel:
                with suppress(OSError):  # the process has ended
                    await asyncio.get_running_loop().sock_sendall(channel, line)

    def _resolve(self, *, usable: bool) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(usable)


class ApiSupervisor(ProcessSupervisor):
    """Keep ``count`` processes of ``framegate serve`` running with ``arguments``, which share ``port``.

    They start with the ``config``, the text of its file, or with what has replaced it since, and with the
    latest report on the workers. ``started`` is set once one of them takes requests, ``failed`` once each has
    ended at least once before any could. ``grace`` is how many seconds they have to answer the last requests.
    """

    def __init__(
        self, arguments: Sequence[str], count: int, port: SharedPort, config: str, *, grace: float
    ) -> None:
        self.started, self.failed = asyncio.Event(), asyncio.Event()
        self._api_slots = [
            ApiSlot(
                number,
                start=self._first_message,
                on_start=self.started.set,
                on_failure=self._note_failure,
            )
            for number in range(count)
        ]
        super().__init__(self._api_slots, grace=grace)
        self._arguments = arguments
        self._port = port
        self._config = config
        self._reloaded: str | None = None
        self._workers = OwnWorkersReport()
        self._banner_shown = False

    def tell(self, report: OwnWorkersReport) -> None:
        """Pass a report on the workers to every process."""
        self._workers = report
        for slot in self._api_slots:
            slot.send(report)

    async def prepare(self, config: str) -> bool:
        """Let every process get ready for another config; return whether all of them can use it."""
        replies = [slot.prepare(config) for slot in self._api_slots if slot.has_started]
        try:
            async with asyncio.timeout(_PREPARE_SECONDS):
                return all(await asyncio.gather(*replies))
        except TimeoutError:
            log.error("api_process_silent", seconds=_PREPARE_SECONDS)
            return False

    def conclude(self, config: str, *, apply: bool) -> None:
        """Let the processes use the config, or forget it; those that start later get the one in force."""
        for slot in self._api_slots:
            if slot.reply is None:
                if not apply:
                    continue
                slot.send(Prepare(config))  # it was just starting, with the one before
            slot.reply = None
            slot.send(Conclude(apply))
        if apply:
            self._reloaded = config

    def _note_failure(self) -> None:
        if not self.started.is_set() and all(slot.has_failed for slot in self._api_slots):
            self.failed.set()

    def _first_message(self) -> Start:
        shows_banner, self._banner_shown = not self._banner_shown, True
        return Start(self._config, self._reloaded, self._workers, shows_banner)

    async def _launch(self, slot: Slot, stdin: socket.socket) -> asyncio.subprocess.Process:
        with self._port.open() as listener:
            number = listener.fileno()
            return await spawn(
                *("serve", *self._arguments, "--listener", str(number)), stdin=stdin, pass_fds=[number]
            )

    def _log_end(self, slot: Slot, *, pid: int, exit_code: int, restart_in: float) -> None:
        log.warning("api_process_ended", pid=pid, exit_code=exit_code, restart_in=restart_in)

    def _log_launch_failed(self, slot: Slot, *, reason: str, restart_in: float) -> None:
        log.error("api_process_not_launched", reason=reason, restart_in=restart_in)
