"""Jobs in Valkey, as a worker uses them: claim one, renew its lease, finish it."""

from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import TypeAlias, cast

import msgspec
import redis
import structlog
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord, WorkerLost
from framegate.core.estimates import work_of
from framegate.core.jobs import MAX_ATTEMPTS, Job, JobError, JobState
from framegate.core.ports import ModelRequest, WorkerInfo
from framegate.core.types import Artifact
from framegate.storage import scripts
from framegate.storage.jobs.records import (
    DRAINED,
    MODEL_REQUESTS,
    MODELS_CALL,
    PREFIX,
    UNREADABLE,
    decode_job,
    decode_model_requests,
)
from framegate.storage.schema import SCHEMA, own_stamp

log = structlog.get_logger(__name__)

LEASE_SECONDS = 6.0
"""How long a worker may stay silent before its job goes to another one."""

SWEEP_SECONDS = 1.0
"""How often dead workers and lost tickets are looked for while jobs run or wait, whoever asks first."""

SILENCE_SECONDS = 3.0
"""If nobody has swept for this long, Valkey was down or couldn't be reached, and every worker gets another
lease to come back with its job."""

ANNOUNCE_SECONDS = 20.0
"""How often a worker announces itself although nothing about it has changed."""

ANNOUNCEMENT_SECONDS = 60.0
"""How long an announcement holds for a worker whose host was lost without a word."""

_ATTEMPTS_TO_FAIL = 2
"""How often a worker tries to end a job that it can't read, before it lets go of it."""
MAX_MESSAGE = 2000
"""Characters of an error's message."""
_NO_PACE = ("", "", "")
_Claimed: TypeAlias = tuple[Sequence[str], Sequence[str]]
"""What a claim returns: names and values of a job's hash in turn, and the ids of jobs without a record."""
_WORKER_LOST = JobError(WorkerLost.code, f"The worker died {MAX_ATTEMPTS} times while running this job.")


class LeaseStatus(StrEnum):
    """The answer to a heartbeat."""

    OK = "ok"
    CANCEL = "cancel"
    LOST = "lost"


class LoadVerdict(StrEnum):
    """Whether a requested load may begin; ``WAIT`` is to ask again in a second."""

    BEGIN = "begin"
    WAIT = "wait"
    DROP = "drop"


class RunningJob(Struct, frozen=True):
    """An attempt at a job, as its worker reports it; ``progress`` (0.0–1.0) is None if it has not changed."""

    job_id: str
    attempt: int
    progress: float | None = None
    message: str = ""


class HeartbeatResult(Struct, frozen=True):
    """What a worker learns from a heartbeat.

    Attributes:
        statuses: Those of its jobs' leases, in their order.
        sweep_due: Whether it should call `WorkerStore.sweep`.
        announced: Whether Valkey has its announcement, which it may have lost.
    """

    statuses: Sequence[LeaseStatus]
    sweep_due: bool
    announced: bool


class NextClaim:
    """What a worker asks for in the step that ends its job, and what it got.

    ``queues`` are those whose tickets it takes, the first one first, and ``models`` those that it serves.

    Attributes:
        queue: The queue of which it took a ticket; "" if there was none.
        job: The job that it has claimed; None if there was none for it.
    """

    def __init__(self, queues: Sequence[str], models: Collection[str]) -> None:
        self.queues = queues
        self.models = models
        self.queue = ""
        self.job: Job | None = None


def sweep_arguments(interval: float) -> list[str | float | bytes]:
    """Return the arguments of ``sweep.lua``; ``interval`` is that of `WorkerStore.sweep`."""
    lost = msgspec.json.encode(_WORKER_LOST)
    return [MAX_ATTEMPTS, lost, interval, SILENCE_SECONDS, LEASE_SECONDS, *own_stamp().arguments]


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

    ``names`` are those besides its id by which operators may drain it.
    """

    def __init__(
        self, client: redis.Redis, worker_id: str, *, names: Sequence[str] = (), prefix: str = PREFIX
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._worker = worker_id
        self._names = (worker_id, *names)
        self._claim = client.register_script(scripts.CLAIM)
        self._heartbeat = client.register_script(scripts.HEARTBEAT)
        self._finish = client.register_script(scripts.FINISH)
        self._sweep = client.register_script(scripts.SWEEP)
        self._withdraw = client.register_script(scripts.WITHDRAW)
        self._begin_load = client.register_script(scripts.BEGIN_LOAD)
        self._end_load = client.register_script(scripts.END_LOAD)

    @property
    def channel(self) -> str:
        """The channel of this worker: ids of jobs that it is to stop arrive there, or `MODELS_CALL`.

        While a worker that has announced to listen there does so, it is alive.
        """
        return f"{self._prefix}worker:{self._worker}"

    def claim(self, queue: str, models: Collection[str]) -> Job | None:
        """Claim the next job of ``queue`` for one of ``models`` that the limits allow, or return None.

        Paused models have none, and a drained worker gets none. A worker that asks again while it holds a job
        gets the same one. Jobs whose records can't be read are ended as failed on the way.
        """
        return self._readable(
            self._claim(keys=[self._prefix], args=[queue, self._claimant(models)]), queue, models
        )

    def _readable(self, claimed: _Claimed, queue: str, models: Collection[str]) -> Job | None:
        """Return the job that a claim has led to, or the next one if it can't be read."""
        unreadable: Counter[str] = Counter()
        while True:
            found, missing = claimed
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
            claimed = self._claim(keys=[self._prefix], args=[queue, self._claimant(models)])

    def _claimant(self, models: Collection[str]) -> bytes:
        """Return this worker as ``claiming.lua`` describes it."""
        claimant = {
            "worker": self._worker,
            "names": self._names,
            "models": list(models),
            "schema": SCHEMA,
            "lease": LEASE_SECONDS,
        }
        return msgspec.json.encode(claimant)

    def is_drained(self) -> bool:
        """Return whether an operator has drained this worker."""
        return any(since is not None for since in self._client.hmget(self._prefix + DRAINED, self._names))

    def model_requests(self) -> Sequence[ModelRequest]:
        """Return what operators want workers to do with models, the oldest request first."""
        return decode_model_requests(
            cast("dict[str, str]", self._client.hgetall(self._prefix + MODEL_REQUESTS))
        )

    def begin_load(self, request: ModelRequest) -> LoadVerdict:
        """Ask whether to load a model now, as was requested, and note that this worker does so.

        The note holds until `end_load`. The request ends if a worker has died during the load; whoever asks
        is told to wait until that is certain, as after a restart of Valkey nobody is heard for a moment.
        """
        verdict = self._begin_load(
            keys=[self._prefix],
            args=[
                self._worker,
                self._names[-1],
                request.model,
                request.number,
                LEASE_SECONDS,
                SILENCE_SECONDS,
                MODELS_CALL,
            ],
        )
        return LoadVerdict(verdict)

    def end_load(self) -> None:
        """Note that this worker has survived the load that it has begun, or has left it."""
        self._end_load(keys=[self._prefix], args=[self._worker])

    def heartbeat(
        self, running: Sequence[RunningJob], *, info: WorkerInfo | None = None, listens: bool = False
    ) -> HeartbeatResult:
        """Renew the leases of this worker's jobs, and announce it if ``info`` is given, all in one trip.

        With ``listens`` it is subscribed to its `channel`, and dead when it no longer is. Otherwise it counts
        as alive for `ANNOUNCEMENT_SECONDS`.
        """
        announcement = msgspec.json.encode(info) if info else b""
        arguments: list[str | float | bytes] = [self._worker, LEASE_SECONDS, SWEEP_SECONDS]
        arguments += [announcement, int(ANNOUNCEMENT_SECONDS * 1000), int(listens)]
        for job in running:
            reported = "" if job.progress is None else f"{job.progress:.6f}"
            arguments += [job.job_id, job.attempt, reported, job.message]
        due, announced, *statuses = self._heartbeat(keys=[self._prefix], args=arguments)
        return HeartbeatResult([LeaseStatus(status) for status in statuses], bool(due), bool(announced))

    def succeed(
        self,
        job: Job,
        artifacts: tuple[Artifact, ...],
        *,
        seconds: float = 0.0,
        then: NextClaim | None = None,
    ) -> JobState | None:
        """Finish the job with its result, and return the state in which it is then.

        That is CANCELLED if a cancel was requested first, and None if the job has gone to another worker.
        Unless it is SUCCEEDED, the caller removes the artifacts. ``seconds`` is how long it ran with its
        model loaded, from which later jobs are estimated; 0 if that is unknown. If it is SUCCEEDED and
        ``then`` is given, the worker takes its next job in the same step, if there is a ticket for one.
        """
        size = sum(made.size for made in artifacts)
        results = (key for made in artifacts for key in made.files)
        files = msgspec.json.encode([*results, *job.partial_image_keys])
        payload = msgspec.json.encode(artifacts)
        pace = (job.served_by, f"{seconds:.6f}", f"{work_of(job):.0f}") if seconds > 0 else _NO_PACE
        return self._close(
            job.id, job.attempt, "succeeded", payload, size=size, files=files, pace=pace, then=then
        )

    def fail(self, job_id: str, attempt: int, error: JobError) -> JobState | None:
        """Finish a job with an error; the state is that of `succeed`.

        The record keeps at most `MAX_MESSAGE` characters of the message, which may be a backend's.
        """
        if len(error.message) > MAX_MESSAGE:
            error = replace(error, message=error.message[: MAX_MESSAGE - 1] + "…")
        return self._close(job_id, attempt, "failed", msgspec.json.encode(error))

    def finish_cancelled(self, job_id: str, attempt: int) -> JobState | None:
        """Stop working on a job whose cancel was requested; the state is that of `succeed`."""
        return self._close(job_id, attempt, "cancelled", b"")

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
        pace: tuple[str, str, str] = _NO_PACE,
        then: NextClaim | None = None,
    ) -> JobState | None:
        stamp = own_stamp().arguments
        arguments = [job_id, self._worker, attempt, outcome, payload, *stamp, size, files, *pace]
        if then is not None:
            arguments += [self._claimant(then.models), *then.queues]
        state, *claimed = self._finish(keys=[self._prefix], args=arguments)
        if then is not None:
            then.queue, found, missing = claimed
            then.job = self._readable((found, missing), then.queue, then.models)
        return None if state == "lost" else JobState(state)

    def sweep(self, *, interval: float = 0.0) -> tuple[int, int]:
        """Requeue or fail the jobs whose workers' leases have expired, and replace lost tickets.

        Nothing is done if that was done less than ``interval`` seconds ago, by whomever. Return the number of
        jobs and of tickets.
        """
        lost, tickets, missing = self._sweep(keys=[self._prefix], args=sweep_arguments(interval))
        log_missing(missing)
        return int(lost), int(tickets)

    def withdraw(self) -> None:
        """Withdraw this worker, and those that have died; its models were served until now."""
        self._withdraw(keys=[self._prefix], args=[self._worker])
