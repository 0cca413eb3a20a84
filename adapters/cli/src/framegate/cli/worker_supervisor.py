"""Worker processes that are kept running, beside a server or on a host of their own."""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec

import structlog

from framegate.cli.own_workers import OwnWorkersReport, ReportedWorkers, WorkerSlot
from framegate.cli.supervisor import ProcessSupervisor, Slot, spawn
from framegate.core.errors import ConfigError
from framegate.core.ports import WorkerInfo

log = structlog.get_logger(__name__)


class WorkerSupervisor(ProcessSupervisor):
    """Keep a worker running on each of the ``devices``.

    ``arguments`` go to ``framegate worker``; ``grace`` is the time in seconds that a running job gets to
    finish after a stop signal. ``on_change`` is called with each new report on the workers, and ``workers``
    has the latest one.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        devices: Sequence[str],
        *,
        grace: float,
        on_change: Callable[[OwnWorkersReport], object] | None = None,
    ) -> None:
        super().__init__([Slot(device) for device in devices], grace=grace, on_change=self._note_change)
        self._arguments = arguments
        self._on_change = on_change
        self.workers = ReportedWorkers()
        self._note_change()

    def report(self) -> OwnWorkersReport:
        """Return what is known about the workers now."""
        return OwnWorkersReport(
            tuple(WorkerSlot(slot.pid, slot.starting_since) for slot in self._slots),
            failing=self.failing.is_set(),
            ending=self._ends_at is not None,
        )

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

    async def _launch(self, slot: Slot, stdin: socket.socket) -> asyncio.subprocess.Process:
        return await spawn("worker", *self._arguments, "--devices", slot.name, stdin=stdin)

    def _log_end(self, slot: Slot, *, pid: int, exit_code: int, restart_in: float) -> None:
        log.warning("worker_ended", pid=pid, device=slot.name, exit_code=exit_code, restart_in=restart_in)

    def _log_launch_failed(self, slot: Slot, *, reason: str, restart_in: float) -> None:
        log.error("worker_not_launched", device=slot.name, reason=reason, restart_in=restart_in)

    def _note_change(self) -> None:
        report = self.report()
        self.workers.update(report)
        if self._on_change is not None:
            self._on_change(report)


def require_worker(otherwise: str) -> None:
    """Raise unless this host can start a worker; ``otherwise`` is what its user can do instead.

    Raises:
        ConfigError: The distribution framegate-worker is not installed.
    """
    if find_spec("framegate.worker") is None:
        raise ConfigError(f"The package framegate-worker is not installed here: install it, or {otherwise}.")
