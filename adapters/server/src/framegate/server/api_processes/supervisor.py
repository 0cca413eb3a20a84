"""Keep the API processes running, and tell them what they need to know."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from framegate.cli.app_context import AppContext
from framegate.cli.own_workers import OwnWorkersReport
from framegate.cli.supervisor import ProcessSupervisor, Slot, spawn
from framegate.core.errors import ConfigError, Unavailable
from framegate.server.api_processes.messages import (
    Conclude,
    Message,
    Prepare,
    ShowBanner,
    Start,
    decode_answer,
    encode,
)
from framegate.server.listening import SharedPort

log = structlog.get_logger(__name__)

_PREPARE_SECONDS = 60.0
"""How long a process may take to get ready for another config."""


class ApiSlot(Slot):
    """One of the API processes.

    ``on_open`` is called when there is another process, which gets its first messages then, ``on_start`` when
    it takes requests, and ``on_failure`` when it has ended before that. ``usable`` is set once a process is
    to prepare a config, and resolved with whether it can use that.
    """

    def __init__(
        self,
        number: int,
        *,
        on_open: "Callable[[ApiSlot], None]",
        on_start: "Callable[[ApiSlot], None]",
        on_failure: Callable[[], None],
    ) -> None:
        super().__init__(str(number))
        self._on_open = on_open
        self._on_start = on_start
        self._on_failure = on_failure
        self.has_failed = False
        self._in_order = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        self._received = b""
        self._asked = 0
        self.usable: asyncio.Future[bool] | None = None

    def opened(self, pid: int, channel: socket.socket) -> None:
        """Note that there is another process."""
        super().opened(pid, channel)
        self._on_open(self)

    def received(self, data: bytes) -> None:
        """Note that the process takes requests, or what it answers."""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            if not line:
                super().received(data)
                self._on_start(self)
            elif (answer := decode_answer(line)).number == self._asked:
                self._resolve(usable=answer.usable)

    def closed(self) -> None:
        """Note that the process has ended; the next one starts with the config in force."""
        if not self.has_started:
            self.has_failed = True
            self._on_failure()
        super().closed()
        self._resolve(usable=True)
        self.usable, self._received = None, b""

    def prepare(self, message: Prepare) -> None:
        """Let the process, if there is one, get ready for another config."""
        if self.channel is not None:
            self._asked, self.usable = message.number, asyncio.get_running_loop().create_future()
            self.send(message)

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
        if self.usable is not None and not self.usable.done():
            self.usable.set_result(usable)


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
            ApiSlot(number, on_open=self._welcome, on_start=self._note_start, on_failure=self._note_failure)
            for number in range(count)
        ]
        super().__init__(self._api_slots, grace=grace)
        self._arguments = arguments
        self._port = port
        self._config = config
        self._reloaded: str | None = None
        self._workers = OwnWorkersReport()
        self._last_number = 0
        self._prepared: Prepare | None = None

    def tell(self, report: OwnWorkersReport) -> None:
        """Pass a report on the workers to every process."""
        self._workers = report
        for slot in self._api_slots:
            slot.send(report)

    async def prepare(self, context: AppContext) -> None:
        """Let every process get ready for another config, those that are just starting too.

        Raises:
            ConfigError, Unavailable: One of them can't use it, or doesn't answer.
        """
        self._last_number += 1
        self._prepared = prepare = Prepare(self._last_number, context.origins.text)
        for slot in self._api_slots:
            slot.prepare(prepare)
        asked = {slot.usable: slot.pid for slot in self._api_slots if slot.usable is not None}
        if not asked:
            return
        done, silent = await asyncio.wait(asked, timeout=_PREPARE_SECONDS)
        if not all(usable.result() for usable in done):
            raise ConfigError("An API process can't use it, and has logged why.")
        if silent:
            pids = ", ".join(str(asked[usable]) for usable in silent)
            raise Unavailable(f"No answer from API process {pids} within {_PREPARE_SECONDS:g} seconds.")

    def apply(self) -> None:
        """Let the processes serve by the prepared config, and those that start later begin with it."""
        assert self._prepared is not None
        self._reloaded = self._prepared.config
        self._conclude(apply=True)

    async def discard(self) -> None:
        """Let the processes forget the prepared config."""
        self._conclude(apply=False)

    def _conclude(self, *, apply: bool) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            for slot in self._api_slots:
                slot.send(Conclude(prepared.number, apply))

    def _welcome(self, slot: ApiSlot) -> None:
        slot.send(Start(self._config, self._reloaded, self._workers))
        if self._prepared is not None:  # nobody waits for its answer: if it can't follow, it ends
            slot.prepare(self._prepared)

    def _note_start(self, slot: ApiSlot) -> None:
        if not self.started.is_set():
            self.started.set()
            slot.send(ShowBanner())

    def _note_failure(self) -> None:
        if not self.started.is_set() and all(slot.has_failed for slot in self._api_slots):
            self.failed.set()

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
