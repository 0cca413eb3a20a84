"""The job store in memory, on the reference model of scheduling and transitions."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from framegate.core.errors import (
    Busy,
    FramegateError,
    IdempotencyMismatch,
    JobExists,
    KeyLimitReached,
    QueueFull,
    QuotaReached,
)
from framegate.core.jobs import CLIENT_ID_LABEL, LOOKUP_LABEL, Job, JobError, JobState, is_generated_id
from framegate.core.ports import (
    IdempotencyKey,
    JobFilter,
    Limits,
    ModelPace,
    Page,
    QueueCounts,
    ScannedJobs,
    WorkerInfo,
    WorkerPresence,
)
from framegate.core.testing import scheduling, transitions
from framegate.core.testing.idempotency import SubmissionMemory
from framegate.core.testing.operations import InMemoryOperationStore
from framegate.core.testing.usage import UsageLedger
from framegate.core.types import Artifact
from framegate.core.workers import worker_names

CURSOR_SECONDS = 86_400
"""How long a page can begin after a job that was removed."""


class InMemoryJobStore:
    """A `JobStore` in memory. The worker's side may be called from any thread.

    ``living`` holds the live workers, ``last_seen`` the times (`time.monotonic`) at which models were last
    served, ``paces`` how fast the models are.
    """

    def __init__(self) -> None:
        self.living: list[WorkerInfo] = []
        self.paces: dict[str, ModelPace] = {}
        self.last_seen: dict[str, float] = {}
        self.operations = InMemoryOperationStore()
        self.usage = UsageLedger()
        self._jobs: dict[str, Job] = {}
        self._deleted: dict[str, Job] = {}  # those that a worker still runs
        self._submissions = SubmissionMemory(self._jobs.__contains__)
        self._removed: dict[str, tuple[Job, float]] = {}
        self._served: dict[scheduling.SchedulingKey, int] = {}
        self._turns = itertools.count(1)
        self._numbers = itertools.count(1)
        self._followers: list[tuple[asyncio.AbstractEventLoop, Callable[[str | None], None]]] = []
        self._lock = threading.RLock()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs that can be found, in the order of their submission."""
        with self._lock:
            return tuple(self._jobs.values())

    async def check_admission(
        self,
        job_id: str,
        owner: str,
        *,
        limits: Limits,
        idempotency: IdempotencyKey | None,
        client_id: str = "",
        dialect: str = "",
    ) -> Job | None:
        """Check as `JobStore.check_admission` does."""
        self._require_unused(client_id, owner, dialect)
        return self._admit(job_id, owner, limits, idempotency)

    def _admit(
        self,
        job_id: str,
        owner: str,
        limits: Limits,
        idempotency: IdempotencyKey | None,
        new_bytes: int = 0,
        record: int = 0,
    ) -> Job | None:
        with self._lock:
            if job_id in self._jobs or job_id in self._deleted:
                raise JobExists(f"A job with the id {job_id} already exists.", param="job_id")
            if idempotency and (earlier := self._find_earlier(owner, idempotency)):
                return earlier
            try:
                self._check_limits(owner, limits, new_bytes, record)
            except Busy:
                if idempotency:
                    self._submissions.count_refusal(owner, idempotency)
                raise
            return None

    def _require_unused(self, client_id: str, owner: str, dialect: str) -> None:
        other = self._jobs.get(client_id) if is_generated_id(client_id) else None
        if other is not None and (other.owner, other.dialect) == (owner, dialect):
            raise JobExists(f"A job with the id {client_id} already exists.", param="job_id")

    def _check_limits(self, owner: str, limits: Limits, new_bytes: int, record: int) -> None:
        waiting = self._queued()
        limit = limits.max_queued
        if limit and len(waiting) >= limit:
            raise QueueFull(f"The queue is full ({limit} jobs).", limit=limit)
        own = sum(job.owner == owner for job in waiting)
        if limits.owner_max_queued and own >= limits.owner_max_queued:
            raise KeyLimitReached(f"This key has {limits.owner_max_queued} jobs waiting.")
        active = own + sum(job.owner == owner for job in self._running())
        if limits.owner_max_active and active >= limits.owner_max_active:
            raise KeyLimitReached(f"This key has {limits.owner_max_active} jobs at once.")
        limit = limits.owner_daily_gpu_seconds
        used = self.usage.today_of(owner).gpu_seconds
        if limit and used >= limit:
            raise QuotaReached(f"This key has used {used:g} s today.", retry_after=_until_tomorrow())
        limit = limits.owner_max_stored
        stored = transitions.stored_bytes(job for job in self._jobs.values() if job.owner == owner)
        if limit and (stored >= limit or stored + new_bytes > limit):
            raise QuotaReached(f"This key keeps {stored} bytes.")
        limit = limits.owner_max_records
        recorded = sum(_record_bytes(job) for job in self._jobs.values() if job.owner == owner)
        if limit and (recorded >= limit or recorded + record > limit):
            raise QuotaReached(f"The records of this key's jobs take {recorded} bytes.")

    def _find_earlier(self, owner: str, idempotency: IdempotencyKey) -> Job | None:
        found = self._submissions.find_earlier(owner, idempotency)
        if found is None:
            return None
        if found.made_by.fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch("This idempotency key was used for another request.")
        return self._jobs[found.job_id]

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        """Store the job, or return the earlier one."""
        with self._lock:
            record = _record_bytes(job)
            self._require_unused(job.labels.get(CLIENT_ID_LABEL, ""), job.owner, job.dialect)
            if earlier := self._admit(job.id, job.owner, limits, idempotency, job.input_bytes, record):
                return earlier
            if idempotency:
                self._submissions.remember_job(job.owner, idempotency, job.id)
            job = replace(job, seq=next(self._numbers))
            self._jobs[job.id] = job
            self.usage.count_submission(job)
            return job

    async def count_refusal(self, owner: str, idempotency: IdempotencyKey) -> None:
        """Remember that a submission was refused."""
        with self._lock:
            self._submissions.count_refusal(owner, idempotency)

    async def get(self, job_id: str) -> Job | None:
        """Return the job, or None."""
        with self._lock:
            return self._jobs.get(job_id)

    def held(self, job_id: str) -> Job | None:
        """Return None: it has to be asked for each job."""
        return None

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        """Return the id of the newest job with that label."""
        with self._lock:
            for job in reversed(self._jobs.values()):
                if job.owner == owner and job.labels.get(LOOKUP_LABEL) == value:
                    return job.id
        return None

    async def find_shared(self, share_id: str) -> str | None:
        """Return the id of the job with that share id."""
        with self._lock:
            return next((job.id for job in self._jobs.values() if job.share_id == share_id), None)

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Return jobs, newest first."""
        with self._lock:
            found = [
                job
                for job in reversed(self._jobs.values())
                if (owner is None or job.owner == owner) and (not states or job.state in states)
            ]
        return found[:limit]

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """Return a part of a collection."""
        with self._lock:
            found = [o for o in self._jobs.values() if (o.owner, o.collection) == (owner, collection)]
            if newest_first:
                found.reverse()
            if after:
                cursor = self._cursor(after)
                if cursor is None or (cursor.owner, cursor.collection) != (owner, collection):
                    return None
                found = [job for job in found if job.id != after and (job.seq < cursor.seq) == newest_first]
        return Page(found[:limit], len(found) > limit)

    async def scan(self, which: JobFilter, *, before: int | None, limit: int) -> ScannedJobs:
        """Return a part of a list, newest first."""
        with self._lock:
            jobs = sorted(filter(which.matches, self._jobs.values()), key=lambda job: -job.seq)
        found = [job for job in jobs if before is None or job.seq < before]
        more = len(found) > limit
        return ScannedJobs(found[:limit], found[limit - 1].seq if more else None)

    def _cursor(self, job_id: str) -> Job | None:
        if job := self._jobs.get(job_id):
            return job
        removed, at = self._removed.get(job_id, (None, 0.0))
        return removed if time.time() - at < CURSOR_SECONDS else None

    async def queue_positions(self, jobs: Sequence[Job]) -> Sequence[int | None]:
        """Return the jobs' places in their queues, from 1."""
        with self._lock:
            waiting = self._queued()
            ids = {job.id for job in waiting}
            return [
                scheduling.position(job, waiting, self._served) if job.id in ids else None for job in jobs
            ]

    async def counts(self) -> QueueCounts:
        """Count the jobs of every state."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return QueueCounts(*(states.count(state) for state in JobState))

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel the job, or ask its worker to stop."""
        with self._lock:
            if job_id not in self._jobs:
                return None
            return self._change(transitions.request_cancel(self._jobs[job_id], time.time()))

    async def delete(self, job_id: str) -> Job | None:
        """Hide the job, and cancel it if a worker runs it."""
        with self._lock:
            job = self._remove(job_id)
            if job is not None and not job.state.finished:
                stopped = transitions.request_cancel(job, time.time())
                self.usage.count_end(job, stopped)
                if not stopped.state.finished:
                    self._deleted[job_id] = stopped
            self._tick(job_id)
            return job

    async def delete_record(self, job: Job) -> None:
        """Remove the job's record."""
        with self._lock:
            if (now := self._jobs.get(job.id)) is not None and now.seq == job.seq and now.state.finished:
                self._remove(job.id)
                self._tick(job.id)

    def _remove(self, job_id: str) -> Job | None:
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._removed[job_id] = job, time.time()
        return job

    async def refresh(self, jobs: Mapping[str, Job | None]) -> Mapping[str, Job | FramegateError | None]:
        """Return jobs as they are now."""
        return {job_id: await self.get(job_id) for job_id in jobs}

    def follow(self, on_change: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``on_change`` with the id of each job that changes."""
        follower = asyncio.get_running_loop(), on_change
        with self._lock:
            self._followers.append(follower)
        return partial(self._followers.remove, follower)

    async def model_paces(self) -> Mapping[str, ModelPace]:
        """Return `paces`."""
        return dict(self.paces)

    async def worker_presence(self) -> WorkerPresence:
        """Return the workers of ``living``, and the ages of ``last_seen``."""
        now = time.monotonic()
        ages = {model: now - seen for model, seen in self.last_seen.items()}
        alive = {model: 0.0 for worker in self.living for model in worker.models}
        return WorkerPresence(list(self.living), {**ages, **alive})

    # The worker's side.

    def claim_next(self, worker: str) -> Job | None:
        """Claim the next job of the first queue in which one may run; None if there is none."""
        with self._lock:
            if self.operations.is_drained(self._names_of(worker)):
                return None
            waiting = self._queued()
            models = {job.served_by for job in waiting if not self.operations.is_paused(job.served_by)}
            for queue in dict.fromkeys(job.queue for job in waiting):
                job = scheduling.next_job(waiting, self._running(), self._served, queue, models)
                if job is not None:
                    self._served[scheduling.scheduling_key(job)] = next(self._turns)
                    return self._change(transitions.claim(job, worker, time.time()))
        return None

    def advance(self, job_id: str, progress: float, message: str = "") -> Job:
        """Record how far the job is."""
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.advance(job, job.attempt, progress, message))

    def succeed(self, job_id: str, *artifacts: Artifact) -> Job:
        """Close the job with its results."""
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.succeed(job, job.attempt, artifacts, time.time()))

    def fail(self, job_id: str, error: JobError) -> Job:
        """Close the job with an error."""
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.fail(job, job.attempt, error, time.time()))

    def finish_cancelled(self, job_id: str) -> Job:
        """Close a job whose cancellation was requested."""
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.finish_cancelled(job, job.attempt, time.time()))

    def _names_of(self, worker: str) -> Sequence[str]:
        shared = (worker_names(info.host, info.device) for info in self.living if info.id == worker)
        return [worker, *itertools.chain.from_iterable(shared)]

    def _queued(self) -> Sequence[Job]:
        return [job for job in self._jobs.values() if job.state == JobState.QUEUED]

    def _running(self) -> Sequence[Job]:
        known = (*self._jobs.values(), *self._deleted.values())
        return [job for job in known if job.state == JobState.RUNNING]

    def _known(self, job_id: str) -> Job:
        return self._deleted[job_id] if job_id in self._deleted else self._jobs[job_id]

    def _change(self, job: Job) -> Job:
        kept = self._deleted if job.id in self._deleted else self._jobs
        self.usage.count_end(kept[job.id], job)
        kept[job.id] = job
        if job.state.finished:
            self._deleted.pop(job.id, None)
        self._tick(job.id)
        return job

    def _tick(self, job_id: str) -> None:
        for loop, on_change in tuple(self._followers):
            if not loop.is_closed():
                loop.call_soon_threadsafe(on_change, job_id)


def _until_tomorrow() -> int:
    return math.ceil(86_400 - time.time() % 86_400)


def _record_bytes(job: Job) -> int:
    """Return the size of a job's record, which other stores need not share to the byte."""
    return len(msgspec.json.encode(job))
