"""Whether a worker serves a model, now or soon: the rule by which jobs are accepted and may wait.

A job is accepted while a worker that serves its model is alive, was seen within the grace, or is one of this
process's own and still starts. A model that rests, as a worker has failed its last jobs, is not served by it.
"""

import math
import time
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from framegate.core.concurrency import CachedRead
from framegate.core.errors import NoWorker, Unavailable
from framegate.core.ports import JobStore, WorkerInfo, WorkerPresence
from framegate.core.workers import held_back_findings

WORKER_GRACE = 60.0
"""How many seconds jobs are accepted after the last worker for their model was seen, by default."""
FRESH_SECONDS = 2.0
"""How many seconds old the workers may be without being read again."""
MAX_AGE_SECONDS = math.inf
"""How many seconds old they may be for a job to be accepted: within the grace, it is."""
RECENT_SECONDS = 5.0
"""How many seconds old the workers may be of which an estimate is made."""


class OwnWorkersStatus(Struct, frozen=True):
    """Whether one of a process's own workers is alive, and for how many seconds one has been starting.

    ``starting_for`` is None if none is starting; ``failing`` tells whether they keep ending soon after they
    were started.
    """

    alive: bool = False
    starting_for: float | None = None
    failing: bool = False


class OwnWorkers(Protocol):
    """The workers that this process starts, and starts again when they end. They serve every model."""

    def status(self, announced: Sequence[WorkerInfo]) -> OwnWorkersStatus:
        """Return their status, given all workers that are alive."""
        ...


class WorkerOverview(Struct, frozen=True):
    """The live workers; ``waited_for`` tells whether jobs are accepted although there is none to come.

    ``findings`` are sentences that say which jobs wait because an operator has paused their model, or drained
    their workers.
    """

    workers: Sequence[WorkerInfo]
    waited_for: bool
    findings: tuple[str, ...] = ()


class WorkerAvailability:
    """Decide which models have a worker. ``grace`` is in seconds; infinity accepts every job."""

    def __init__(self, store: JobStore, *, grace: float, own_workers: OwnWorkers | None = None) -> None:
        self._store = store
        self._grace = grace
        self._own = own_workers
        self._last_outage = -math.inf
        # Of a thousand workers a read is 3 MB: whoever comes meanwhile waits for the same one.
        self._presence = CachedRead(self._read, fresh_for=FRESH_SECONDS)

    async def check(self, model: str, name: str) -> float:
        """Return for how many seconds jobs of ``model`` are accepted even if no worker is seen meanwhile.

        Before a job is refused, the workers are looked for; a job is accepted by what the store knows of them
        as well. A worker that it saw some time ago was alive then, which may be within the grace.

        Raises:
            NoWorker: They are not accepted now; the message calls the model ``name``.
            Unavailable: The store can't be reached.
        """
        if self._grace == math.inf:
            return math.inf
        began = time.monotonic()
        presence = await self._presence.get(max_age=MAX_AGE_SECONDS)
        absence = self._absence(model, presence, age=self._presence.age)
        if absence > self._grace:
            presence = await self._presence.get(max_age=time.monotonic() - began)
            absence = self._absence(model, presence, age=0.0)
        if absence <= self._grace:
            return self._grace - absence
        if (resting := _reason_to_rest(model, presence)) is not None:
            raise NoWorker(
                f"The model {name} is unavailable for some minutes, as its last jobs failed: {resting}"
            )
        reason = f"No worker that runs the model {name} is alive; try again shortly."
        if self._own_status(presence).failing:
            reason += " This server's own worker ends as soon as it is started; the server's log says why."
        raise NoWorker(reason)

    async def live_workers(self) -> Sequence[WorkerInfo]:
        """Return the workers that were alive a few seconds ago.

        Raises:
            Unavailable: The store can't be reached.
        """
        return (await self._presence.get(max_age=RECENT_SECONDS)).workers

    async def overview(self) -> WorkerOverview:
        """Return the live workers, and whether jobs are accepted while there are none.

        Raises:
            Unavailable: The store can't be reached.
        """
        presence = await self._presence.get(max_age=0.0)
        workers = presence.workers
        findings = held_back_findings(await self._store.operations.held_back(), workers)
        if workers or self._own_status(presence).starting_for is not None:
            return WorkerOverview(workers, waited_for=False, findings=findings)
        seen = (self._last_seen(model, presence, age=0.0) for model in presence.last_seen)
        absence = min(seen, default=math.inf)
        return WorkerOverview((), waited_for=absence <= self._grace, findings=findings)

    async def _read(self) -> WorkerPresence:
        try:
            return await self._store.worker_presence()
        except Unavailable:
            self._last_outage = time.monotonic()
            raise

    def _own_status(self, presence: WorkerPresence) -> OwnWorkersStatus:
        return self._own.status(presence.workers) if self._own else OwnWorkersStatus()

    def _absence(self, model: str, presence: WorkerPresence, *, age: float) -> float:
        """Return for how many seconds ``model`` has not been served, by what was so ``age`` seconds ago."""
        own, absence = self._own_status(presence), self._last_seen(model, presence, age=age)
        if own.alive and _reason_to_rest(model, presence) is None:
            # It has the same models, though it may have yet to announce a new one.
            return min(absence, age)
        if own.starting_for is not None:
            return min(absence, own.starting_for if own.failing else 0.0)
        return absence

    def _last_seen(self, model: str, presence: WorkerPresence, *, age: float) -> float:
        """Return how many seconds ago a worker that serves ``model`` was alive."""
        seen = presence.last_seen.get(model, math.inf) + age
        # While the store was away, no worker could be seen.
        return min(seen, time.monotonic() - self._last_outage)


def _reason_to_rest(model: str, presence: WorkerPresence) -> str | None:
    """Return why a worker lets the model rest, if one does and no other serves it."""
    if any(model in worker.models for worker in presence.workers):
        return None
    reasons = (worker.resting.get(model) for worker in presence.workers)
    return next((reason for reason in reasons if reason is not None), None)
