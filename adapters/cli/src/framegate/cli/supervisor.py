"""Processes that are kept running: workers, beside a server or on a host of their own, and API processes."""

import asyncio
import os
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_TRIES = 3
_END_SECONDS = 5.0
"""The time that a process has to end once its grace is over; a worker requeues its job well before."""
_LEAVE_SECONDS = 5.0
"""The time that a worker has to requeue its job and end when nothing is to be waited for."""


class Slot:
    """One of the processes to be, over all its restarts.

    ``starting_since`` is when the first of them was started that has not reported its start (by the monotonic
    clock), ``pid`` the current one's, 0 while there is none, and ``has_started`` tells whether that has.
    ``channel`` leads to its standard input.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.starting_since = time.monotonic()
        self.pid = 0
        self.has_started = False
        self.channel: socket.socket | None = None

    def opened(self, pid: int, channel: socket.socket) -> None:
        """Note that a process runs."""
        self.pid, self.channel = pid, channel

    def received(self, data: bytes) -> None:
        """Note what the process has written, first that it has started."""
        self.has_started = True

    def closed(self) -> None:
        """Note that the process has ended."""
        self.pid, self.has_started, self.channel = 0, False, None


class ProcessSupervisor(ABC):
    """Start a process for each of the ``slots``, and each again when it ends.

    ``grace`` is the time in seconds that a process gets to finish its work after a stop signal. Its standard
    input is a socket whose other end is held here: however this process ends, it notices and ends too. It
    writes a byte into it once it has started; one that ends before that, or that the system refuses to start,
    is started again ever later.
    ``on_change`` is called when anything about them has changed.
    """

    def __init__(
        self, slots: Sequence[Slot], *, grace: float, on_change: Callable[[], object] | None = None
    ) -> None:
        self._slots = slots
        self._changed = on_change or (lambda: None)
        self._grace = grace
        self._processes: dict[asyncio.subprocess.Process, socket.socket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ends_at: float | None = None
        self.failing = asyncio.Event()
        """Set when a process has ended before it had started so often that another try will hardly help."""
        self.misconfigured = asyncio.Event()
        """Set when a process has ended because the config is wrong; it has said what."""

    @property
    def count(self) -> int:
        """How many processes there are to be."""
        return len(self._slots)

    def start(self) -> None:
        """Start the processes; call it where an event loop runs."""
        self._tasks = [asyncio.create_task(self._keep_running(slot)) for slot in self._slots]

    def wind_down(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask every process by a signal to finish what it does, and to take no more.

        It returns at once, and signal handlers may call it.
        """
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._grace + _END_SECONDS
            self.pass_on(number)
            self._changed()

    def end_now(self) -> None:
        """Ask every process to leave what it does at once and to end; one that doesn't is killed."""
        self.wind_down()
        self.pass_on(signal.SIGINT)
        for process in list(self._processes):
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, _signal, process, signal.SIGKILL)

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal to every process."""
        for process in list(self._processes):
            _signal(process, number)

    async def stop(self) -> None:
        """Wind down, and wait until every process has ended; one that takes too long is killed."""
        self.wind_down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(process) for process in list(self._processes)))

    @abstractmethod
    async def _launch(self, slot: Slot, stdin: socket.socket) -> asyncio.subprocess.Process:
        """Start a process for the slot, with this standard input."""

    @abstractmethod
    def _log_end(self, slot: Slot, *, pid: int, exit_code: int, restart_in: float) -> None:
        """Log that a process has ended that was to run."""

    @abstractmethod
    def _log_launch_failed(self, slot: Slot, *, reason: str, restart_in: float) -> None:
        """Log that the system has refused to start a process."""

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert self._ends_at is not None
        try:
            async with asyncio.timeout(max(1.0, self._ends_at - time.monotonic())):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        _kill_group(process.pid)
        self._forget(process)

    def _forget(self, process: asyncio.subprocess.Process) -> None:
        if process in self._processes:
            channel = self._processes.pop(process)
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()

    async def _keep_running(self, slot: Slot) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                process = await self._start(slot)
            except OSError as error:  # no memory, no files left: it may have some later
                reason = error.strerror or str(error)
                log_end = partial(self._log_launch_failed, slot, reason=reason)
                has_started, code = False, os.EX_OSERR
            else:
                code = await process.wait()
                log_end = partial(self._log_end, slot, pid=process.pid, exit_code=code)
                has_started = self._ended(slot, process)
            if self._ends_at is not None:
                self._changed()
                return
            if code == -signal.SIGHUP:
                self._changed()
                continue  # it was to read its config again before it could: the next one does
            if has_started:
                pause, slot.starting_since = _FIRST_PAUSE, time.monotonic()
                self.failing.clear()
            elif code == os.EX_CONFIG or pause >= _FIRST_PAUSE * 2**_TRIES:
                self.failing.set()
            if code == os.EX_CONFIG:
                self.misconfigured.set()
            self._changed()
            log_end(restart_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _ended(self, slot: Slot, process: asyncio.subprocess.Process) -> bool:
        """Note that the slot's process has ended; return whether it had started."""
        _kill_group(process.pid)
        self._read(slot, self._processes[process])
        has_started = slot.has_started
        slot.closed()
        self._forget(process)
        return has_started

    async def _start(self, slot: Slot) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await self._launch(slot, theirs)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self._processes[process] = ours
        slot.opened(process.pid, ours)
        asyncio.get_running_loop().add_reader(ours, self._read, slot, ours)
        if self._ends_at is not None:
            _signal(process, signal.SIGTERM)
        self._changed()
        return process

    def _read(self, slot: Slot, channel: socket.socket) -> None:
        """Read what the process at the other end has written."""
        try:
            data = channel.recv(64)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(channel)
            return
        slot.received(data)


async def spawn(
    command: str, *arguments: str, stdin: socket.socket, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a command of Framegate in a process group of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "framegate.cli", command, "--with-parent", *arguments),
        stdin=stdin.fileno(),
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def _kill_group(leader: int) -> None:
    """Kill what a process that has ended had started, and left: a worker's would keep the device's memory."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter if only zombies are left
        os.killpg(leader, signal.SIGKILL)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
