"""Worker processes that are kept running, beside a server or on a host of their own."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.util import find_spec

import structlog

from framegate.core.availability import OwnWorkersStatus
from framegate.core.errors import ConfigError
from framegate.core.ports import WorkerInfo

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_TRIES = 3
_END_SECONDS = 5.0
"""The time that a worker has to end once its job's grace is over; it requeues the job well before."""
_LEAVE_SECONDS = 5.0
"""The time that a worker has to requeue its job and end when nothing is to be waited for."""


class _Slot:
    """One of the workers, over all its processes.

    ``starting_since`` is when the first of them was started that has not got as far as to take jobs (by the
    monotonic clock), ``pid`` the current one's, and ``announced`` tells whether that takes jobs.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.starting_since = time.monotonic()
        self.pid = 0
        self.announced = False


class WorkerSupervisor:
    """Start a worker for each of the ``devices``, and each again when it ends.

    ``arguments`` go to ``framegate worker``; ``grace`` is the time in seconds that a running job gets to
    finish after a stop signal. A worker's standard input is a socket whose other end is held here: however
    this process ends, the worker notices and ends too. It writes a byte into it once it takes jobs; one that
    ends before that is started again ever later.
    """

    def __init__(self, arguments: Sequence[str], devices: Sequence[str], *, grace: float) -> None:
        self._command = [
            sys.executable,
            "-m",
            "framegate.cli",
            "worker",
            "--with-parent",
            *arguments,
        ]
        self._slots = [_Slot(device) for device in devices]
        self._grace = grace
        self._processes: dict[asyncio.subprocess.Process, socket.socket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ends_at: float | None = None
        self.failing = asyncio.Event()
        """Set when a worker has ended before it took jobs so often that another try will hardly help."""
        self.misconfigured = asyncio.Event()
        """Set when a worker has ended because the config is wrong; it has said what."""

    @property
    def count(self) -> int:
        """How many workers there are to be."""
        return len(self._slots)

    def start(self) -> None:
        """Start the workers; call it where an event loop runs."""
        self._tasks = [asyncio.create_task(self._keep_running(slot)) for slot in self._slots]

    def status(self, announced: Sequence[WorkerInfo]) -> OwnWorkersStatus:
        """Return whether a worker is alive or starting, given all workers that have announced themselves.

        One that has yet to be started counts as starting, until they are asked to wind down.
        """
        here = socket.gethostname()
        pids = {worker.pid for worker in announced if worker.host == here}
        for slot in self._slots:
            slot.announced = slot.announced or slot.pid in pids
        since = [slot.starting_since for slot in self._slots if not slot.announced]
        return OwnWorkersStatus(
            alive=any(slot.pid in pids for slot in self._slots),
            starting_for=time.monotonic() - max(since) if since and self._ends_at is None else None,
            failing=self.failing.is_set(),
        )

    def wind_down(self) -> None:
        """Ask every worker to finish or requeue its job, and to take no more.

        It returns at once, and signal handlers may call it.
        """
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._grace + _END_SECONDS
            for process in list(self._processes):
                _signal(process, signal.SIGTERM)

    def announce_stop(self, announced: Sequence[WorkerInfo], busy: Collection[str]) -> None:
        """Log how many jobs are waited for.

        That follows from all workers that have announced themselves, and the ids of those that run a job: an
        announcement may not have its worker's latest one yet.
        """
        here, pids = socket.gethostname(), {process.pid for process in self._processes}
        running = sum(
            worker.id in busy and worker.host == here and worker.pid in pids for worker in announced
        )
        log.info("stopping", running_jobs=running, at_most=float(self._grace))

    def end_now(self) -> None:
        """Ask every worker to requeue its job at once and to end; one that doesn't is killed.

        Its job is requeued when its lease has expired.
        """
        self.wind_down()
        for process in list(self._processes):
            _signal(process, signal.SIGINT)
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, _signal, process, signal.SIGKILL)

    def pass_on(self, number: signal.Signals) -> None:
        """Send a signal to every worker."""
        for process in list(self._processes):
            _signal(process, number)

    async def stop(self) -> None:
        """Wind down, and wait until every worker has ended; one that takes too long is killed."""
        self.wind_down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(process) for process in list(self._processes)))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert self._ends_at is not None
        try:
            async with asyncio.timeout(max(1.0, self._ends_at - time.monotonic())):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        _kill_group(process.pid)
        if process in self._processes:
            self._processes.pop(process).close()

    async def _keep_running(self, slot: _Slot) -> None:
        pause = _FIRST_PAUSE
        while True:
            process = await self._start(slot)
            code = await process.wait()
            _kill_group(process.pid)
            has_started = _has_started(self._processes[process])
            self._processes.pop(process).close()
            slot.pid, slot.announced = 0, False
            if self._ends_at is not None:
                return
            if code == -signal.SIGHUP:
                continue  # it was to read its config again before it could: the next one does
            if has_started:
                pause, slot.starting_since = _FIRST_PAUSE, time.monotonic()
                self.failing.clear()
            elif code == os.EX_CONFIG or pause >= _FIRST_PAUSE * 2**_TRIES:
                self.failing.set()
            if code == os.EX_CONFIG:
                self.misconfigured.set()
            log.warning("worker_ended", pid=process.pid, device=slot.device, exit_code=code, restart_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _start(self, slot: _Slot) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command, "--devices", slot.device, stdin=theirs.fileno(), start_new_session=True
            )
        ours.setblocking(False)
        self._processes[process] = ours
        slot.pid = process.pid
        if self._ends_at is not None:
            _signal(process, signal.SIGTERM)
        return process


def _has_started(channel: socket.socket) -> bool:
    """Return whether the worker at the other end has written that it takes jobs."""
    try:
        return bool(channel.recv(1))
    except (BlockingIOError, ConnectionResetError):
        return False


def require_worker(otherwise: str) -> None:
    """Raise unless this host can start a worker; ``otherwise`` is what its user can do instead.

    Raises:
        ConfigError: The distribution framegate-worker is not installed.
    """
    if find_spec("framegate.worker") is None:
        raise ConfigError(f"The package framegate-worker is not installed here: install it, or {otherwise}.")


def _kill_group(leader: int) -> None:
    """Kill what a worker that has ended had started, and left: it would keep the device's memory."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter if only zombies are left
        os.killpg(leader, signal.SIGKILL)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
