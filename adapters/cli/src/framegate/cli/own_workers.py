"""Whether the workers that a server starts are alive or starting, in each process that accepts jobs."""

import socket
import time
from collections.abc import Sequence

from msgspec import Struct

from framegate.core.availability import OwnWorkersStatus
from framegate.core.ports import WorkerInfo


class WorkerSlot(Struct, frozen=True):
    """One of the workers, over all its processes.

    ``pid`` is the current process, 0 while there is none, and ``starting_since`` is when the first of them
    was started that has not got as far as to take jobs (by `time.monotonic`, which processes of one machine
    share).
    """

    pid: int
    starting_since: float


class OwnWorkersReport(Struct, frozen=True, tag="workers"):
    """What their supervisor knows about its workers: are they ``failing`` to start, or asked to wind down?"""

    slots: tuple[WorkerSlot, ...] = ()
    failing: bool = False
    ending: bool = False


class ReportedWorkers:
    """The workers of this host's server, by the latest report of their supervisor."""

    def __init__(self) -> None:
        self._report = OwnWorkersReport()
        self._announced: set[int] = set()

    @property
    def count(self) -> int:
        """How many workers there are to be."""
        return len(self._report.slots)

    def update(self, report: OwnWorkersReport) -> None:
        """Take a later report."""
        self._report = report
        self._announced.intersection_update(slot.pid for slot in report.slots)

    def status(self, announced: Sequence[WorkerInfo]) -> OwnWorkersStatus:
        """Return whether a worker is alive or starting, given all workers that have announced themselves.

        One that has yet to be started counts as starting, until they are asked to wind down.
        """
        here, slots = socket.gethostname(), self._report.slots
        pids = {worker.pid for worker in announced if worker.host == here}
        self._announced.update(slot.pid for slot in slots if slot.pid in pids)
        since = [slot.starting_since for slot in slots if slot.pid not in self._announced]
        return OwnWorkersStatus(
            alive=any(slot.pid in pids for slot in slots),
            starting_for=time.monotonic() - max(since) if since and not self._report.ending else None,
            failing=self._report.failing,
        )
