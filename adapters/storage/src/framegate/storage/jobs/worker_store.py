"""Jobs in Valkey, as a worker uses them: claim one, renew its lease, finish it."""

from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import cast

import msgspec
import redis
import structlog

from framegate.core.errors import UnreadableRecord, WorkerLost
from framegate.core.jobs import MAX_ATTEMPTS, Job, JobError, JobState
from framegate.core.ports import WorkerInfo
from framegate.core.types import Artifact
from framegate.storage import scripts
from framegate.storage.jobs.records import PREFIX, UNREADABLE, decode_job
from framegate.storage.schema import SCHEMA, own_stamp

log = structlog.get_logger(__name__)

LEASE_SECONDS = 6.0
"""How long a worker may stay silent before its job goes to another one."""

SILENCE_SECONDS = 3.0
"""Workers and servers sweep every second. If none has for this long, Valkey was down or couldn't be reached,
and every worker gets another lease to come back with its job."""

_ATTEMPTS_TO_FAIL = 2
"""How often a worker tries to end a job that it can't read, before it lets go of it."""
_MAX_TICKETS_AT_ONCE = 32
_WORKER_LOST = JobError(WorkerLost.code, f"The worker died {MAX_ATTEMPTS} times while running this job.")


class LeaseStatus(StrEnum):
    """The answer to a heartbeat."""

    OK = "ok"
    CANCEL = "cancel"
    LOST = "lost"


def sweep_arguments() -> list[str | float | bytes]:
    """Return the arguments of ``sweep.lua``."""
    lost = msgspec.json.encode(_WORKER_LOST)
    stamp = own_stamp().arguments
    return [MAX_ATTEMPTS, lost, _MAX_TICKETS_AT_ONCE, SILENCE_SECONDS, LEASE_SECONDS, *stamp]


def log_missing(job_ids: Sequence[str]) -> None:
    """Log that waiting jobs were dropped because their records were gone, if there are any."""
    if job_ids:
        log.error(
            "records_missing",
            job_ids=job_ids,
            reason="Valkey lost the records of these waiting jobs: its maxmemory-policy must be noeviction.",
        )


class WorkerStore:
    """What one worker does to jobs.

    Methods raise `redis.RedisError` while Valkey can't be reached; each call may be repeated.
    """

    def __init__(self, client: redis.Redis, worker_id: str, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._worker = worker_id
        self._claim = client.register_script(scripts.CLAIM)
        self._heartbeat = client.register_script(scripts.HEARTBEAT)
        self._finish = client.register_script(scripts.FINISH)
        self._sweep = client.register_script(scripts.SWEEP)
        self._announce = client.register_script(scripts.ANNOUNCE)

    def claim(self, queue: str, models: Collection[str]) -> Job | None:
        """Claim the next job of ``queue`` for one of ``models`` that the limits allow, or return None.

        A worker that asks again while it holds a job gets the same one. Jobs whose records can't be read are
        ended as failed on the way.
        """
        arguments: list[str | float | bytes] = [queue, self._worker, LEASE_SECONDS]
        arguments += [msgspec.json.encode(list(models)), SCHEMA]
        unreadable: Counter[str] = Counter()
        while True:
            found, missing = self._claim(keys=[self._prefix], args=arguments)
            log_missing(missing)
            fields = dict(zip(found[::2], found[1::2], strict=True))
            if not fields:
                return None
            try:
                return decode_job(fields)
            except UnreadableRecord as error:
                job_id = fields["id"]
                log.error("job_unreadable", job_id=job_id, reason=error.message)
            unreadable[job_id] += 1
            if unreadable[job_id] > _ATTEMPTS_TO_FAIL:
                # The sweep ends it, like the job of a worker that died.
                self._client.delete(f"{self._prefix}holds:{self._worker}")
                return None
            self.fail(job_id, int(fields["attempt"]), UNREADABLE)

    def heartbeat(
        self, job_id: str, attempt: int, progress: float | None = None, message: str = ""
    ) -> LeaseStatus:
        """Renew the lease of an attempt, and report how far it is (0.0–1.0)."""
        reported = "" if progress is None else f"{progress:.6f}"
        arguments: list[str | float] = [job_id, self._worker, attempt, LEASE_SECONDS, reported, message]
        return LeaseStatus(self._heartbeat(keys=[self._prefix], args=arguments))

    def succeed(self, job: Job, artifacts: tuple[Artifact, ...]) -> JobState | None:
        """Finish the job with its result, and return the state in which it is then.

        That is CANCELLED if a cancel was requested first, and None if the job has gone to another worker.
        Unless it is SUCCEEDED, the caller removes the artifacts.
        """
        size = sum(made.size for made in artifacts)
        files = msgspec.json.encode([key for made in artifacts for key in made.files])
        payload = msgspec.json.encode(artifacts)
        return self._close(job.id, job.attempt, "succeeded", payload, size=size, files=files)

    def fail(self, job_id: str, attempt: int, error: JobError) -> JobState | None:
        """Finish a job with an error; the state is that of `succeed`."""
        return self._close(job_id, attempt, "failed", msgspec.json.encode(error))

    def finish_cancelled(self, job: Job) -> JobState | None:
        """Stop working on a job whose cancel was requested; the state is that of `succeed`."""
        return self._close(job.id, job.attempt, "cancelled", b"")

    def requeue(self, job_id: str, attempt: int) -> JobState | None:
        """Return the job to its queue because this worker shuts down; the attempt does not count."""
        return self._close(job_id, attempt, "requeued", b"")

    def _close(
        self,
        job_id: str,
        attempt: int,
        outcome: str,
        payload: bytes,
        *,
        size: int = 0,
        files: bytes = b"[]",
    ) -> JobState | None:
        stamp = own_stamp().arguments
        arguments = [job_id, self._worker, attempt, outcome, payload, *stamp, size, files]
        state = self._finish(keys=[self._prefix], args=arguments)
        return None if state == "lost" else JobState(state)

    def sweep(self) -> tuple[int, int]:
        """Requeue or fail the jobs whose workers' leases have expired, and replace lost tickets.

        Return the number of jobs and of tickets.
        """
        lost, tickets, missing = self._sweep(keys=[self._prefix], args=sweep_arguments())
        log_missing(missing)
        return int(lost), int(tickets)

    def announce(self, info: WorkerInfo) -> None:
        """Announce this worker; the announcement expires unless it is repeated within the lease."""
        lease, models = int(LEASE_SECONDS * 1000), msgspec.json.encode(info.models)
        self._announce(keys=[self._prefix], args=[info.id, msgspec.json.encode(info), lease, models])

    def withdraw(self) -> None:
        """Withdraw this worker's announcement, and the ids of workers whose own have expired."""
        self._client.delete(f"{self._prefix}worker:{self._worker}")
        known = sorted(cast("set[str]", self._client.smembers(f"{self._prefix}workers")))
        alive = self._client.mget([f"{self._prefix}worker:{worker}" for worker in known]) if known else []
        gone = [worker for worker, info in zip(known, alive, strict=True) if info is None]
        if gone:
            self._client.srem(f"{self._prefix}workers", *gone)
