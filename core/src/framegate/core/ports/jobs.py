"""The records of jobs, and what they tell of workers."""

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from framegate.core.errors import FramegateError
from framegate.core.jobs import Job, JobState
from framegate.core.ports.operations import ModelLoad, OperationStore
from framegate.core.ports.usage import UsageStore

_RESTS = "rests on a worker that has failed its last jobs"


class WorkerInfo(Struct, frozen=True):
    """A live worker process, as it announces itself.

    ``started_at`` is seconds since the epoch; ``health_findings`` are sentences that say what currently keeps
    some of its models from running. ``resting`` are models, not among ``models``, whose jobs it takes none of
    for a while because it failed the last ones, each with the reason. ``video_encoder`` is FFmpeg's name of
    what encodes its videos; empty if it doesn't say, as in 0.1. ``loads`` are the models that it has loaded,
    loads now, or failed to load last, by id; ``carried_out`` are the ids (`ModelRequest.id`) of the requests
    that it has carried out, by the model's id, None if it knows of none, as earlier versions.
    """

    id: str
    host: str
    pid: int
    device: str
    version: str
    models: tuple[str, ...]
    started_at: float
    job: str = ""
    health_findings: tuple[str, ...] = field(default=(), name="problems")
    resting: Mapping[str, str] = {}
    video_encoder: str = ""
    loads: Mapping[str, ModelLoad] = {}
    carried_out: Mapping[str, str] | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """All that keeps some of its models from running, a sentence each."""
        resting = (f"The model {model} {_RESTS}: {reason}" for model, reason in self.resting.items())
        return (*self.health_findings, *resting)


class ModelPace(Struct, frozen=True):
    """How fast a model's workers are, averaged over its latest jobs.

    ``seconds_per_unit`` is for one unit of `framegate.core.estimates.work_of`, ``job_seconds`` for a whole
    job of the usual size. ``jobs`` is how many have been counted.
    """

    seconds_per_unit: float
    job_seconds: float
    jobs: int


class WorkerPresence(Struct, frozen=True):
    """The live workers, and how many seconds ago each model was last served by one that was alive.

    Models of live workers were seen 0 s ago; those that were never or long not served are missing.
    """

    workers: Sequence[WorkerInfo]
    last_seen: Mapping[str, float]


class QueueCounts(Struct, frozen=True):
    """How many jobs there are of each state."""

    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def active(self) -> int:
        """How many are queued or running."""
        return self.queued + self.running


class Limits(Struct, frozen=True):
    """How many jobs there may be, the new one included. 0 means no limit.

    Attributes:
        max_queued: Waiting in all.
        owner_max_queued: Waiting of the new job's owner.
        owner_max_active: Waiting or running of the new job's owner.
        owner_max_stored: Bytes that the owner's jobs and characters may keep, the new job's inputs included.
            Results come later and are not foreseen, so what they exceed it by refuses the next job.
        owner_daily_gpu_seconds: For how long the owner's jobs may run on a day, in UTC. What runs ends; once
            those that have ended are at it, the next job is refused.
        owner_max_records: Bytes that the records of the owner's jobs may have, the new job's included.
    """

    max_queued: int = 0
    owner_max_queued: int = 0
    owner_max_active: int = 0
    owner_max_stored: int = 0
    owner_max_records: int = 0
    owner_daily_gpu_seconds: int = 0


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """How a repeated submission is recognised, so that it makes one job however often it is sent.

    Some clients mark only the repetitions as such. Their first submission has ``repeat`` False: it makes a
    new job and is remembered for the repetitions. The exception is a repetition that overtook it: if that has
    made the job later than ``since``, the first submission is given the same job.

    Of those clients some count their retries, and send a refused submission again just like one whose answer
    was lost. So each refusal is counted: a retry uses up one and is new work, or, if there is none, is given
    the newest job that no retry with its count has been given yet.

    Attributes:
        key: Its name among its owner's keys.
        fingerprint: A digest of the request.
        seconds: How long it is remembered; no longer than the job's record exists.
        repeat: Whether this submission may be a repetition.
        retries: How often the client has sent it before; None if it does not count its retries.
        since: When the reading of this submission began, by `time.monotonic`.
        call: The name of this one submission, by which its refusal is counted only once.
    """

    key: str
    fingerprint: str = ""
    seconds: int = 86_400
    repeat: bool = True
    retries: int | None = None
    since: float = field(default_factory=time.monotonic)
    call: str = field(default_factory=lambda: uuid.uuid4().hex)


class Page(Struct, frozen=True):
    """A part of a list, and whether more follows."""

    jobs: Sequence[Job]
    has_more: bool


class JobFilter(Struct, frozen=True):
    """Which jobs a list has.

    Attributes:
        owner: Whose; None for everybody's.
        states: In any of these states; empty for any state.
        model: Those that named this model, or were served by it; empty for any model.
    """

    owner: str | None
    states: frozenset[JobState] = frozenset()
    model: str = ""

    def matches(self, job: Job) -> bool:
        """Return whether the list has ``job``."""
        return (
            (self.owner is None or job.owner == self.owner)
            and (not self.states or job.state in self.states)
            and (not self.model or self.model in (job.model, job.served_by))
        )


class ScannedJobs(Struct, frozen=True):
    """A part of a list, newest first, and the number (`Job.seq`) before which it goes on; None at its end."""

    jobs: Sequence[Job]
    next: int | None


class JobStore(Protocol):
    """The records of jobs, as the API needs them.

    Every method raises `Unavailable` when the store can't be reached.
    """

    @property
    def operations(self) -> OperationStore:
        """What operators hold back."""
        ...

    @property
    def usage(self) -> UsageStore:
        """What the jobs' owners have used."""
        ...

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
        """Check whether `submit` would currently accept a job with this id ("" for a new one).

        It raises the same errors, and returns the earlier job that ``idempotency`` names, if there is one.
        ``client_id`` is what the client calls the job, if it has chosen that.
        """
        ...

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        """Write ``job`` and its ticket in one step, and return it with its number and the time by the store.

        If ``idempotency`` names an earlier job, that is returned instead. `find_by_lookup_label` finds the
        job by its label `framegate.core.jobs.LOOKUP_LABEL`, if it has one.

        A job whose client has chosen its id (`framegate.core.jobs.CLIENT_ID_LABEL`) exists as well if the
        server has given that id to another job of the owner and the dialect.

        Raises:
            JobExists, IdempotencyMismatch: Nothing was written.
            InvalidRequest: Its record would be too large; nothing was written.
            QueueFull, KeyLimitReached: Nothing was written but the refusal, for ``idempotency``.
        """
        ...

    async def count_refusal(self, owner: str, idempotency: IdempotencyKey) -> None:
        """Remember that a submission was refused for a reason of which the store knows nothing."""
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return the job as it is at some moment after this call, or None if there is none."""
        ...

    def held(self, job_id: str) -> Job | None:
        """Return the job as it is now if that is known without asking, else None.

        It is no older than any state of it that has been returned before, here or by another process. Only
        who knows from elsewhere that it has changed needs `get`.
        """
        ...

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        """Return the id of the owner's newest job whose label `LOOKUP_LABEL` is ``value``."""
        ...

    async def find_shared(self, share_id: str) -> str | None:
        """Return the id of the job with this share id."""
        ...

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Return jobs, newest first. No ``owner`` means everybody's, no ``states`` means any state."""
        ...

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """Return at most ``limit`` jobs of the owner's ``collection``, in the order of their submission.

        They begin with the one that follows the job ``after`` ("" for the first), which may have been removed
        within the last day. None means that ``after`` was never in the collection.
        """
        ...

    async def scan(self, which: JobFilter, *, before: int | None, limit: int) -> ScannedJobs:
        """Return at most ``limit`` jobs, newest first, of those with a number below ``before`` (None: all).

        A call looks at a bounded number of jobs, however many there are: where few of them match, it may
        return fewer than ``limit``, even none, though there are more. As numbers are never used again, a scan
        neither repeats nor skips a job, whatever comes and goes meanwhile.
        """
        ...

    async def queue_positions(self, jobs: Sequence[Job]) -> Sequence[int | None]:
        """Return how many jobs of its queue will be served before each, plus one; None if it is not queued.

        Jobs that are yet to come and limits on running jobs are not taken into account. In long queues the
        number may be an estimate: where several hundred owners wait with as many jobs as are before this one
        among its owner's own.
        """
        ...

    async def counts(self) -> QueueCounts:
        """Count the jobs of every state."""
        ...

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel the job, or ask its worker to stop; return it as it is then."""
        ...

    async def delete(self, job_id: str) -> Job | None:
        """Hide the job from everybody, and cancel it if it has not ended; return it as it was before.

        What is left of it is removed by `delete_record`, or else by retention.
        """
        ...

    async def delete_record(self, job: Job) -> None:
        """Remove the record of a job that has ended and whose files are gone.

        The record of another job that has the same id by now stays.
        """
        ...

    async def refresh(self, jobs: Mapping[str, Job | None]) -> Mapping[str, Job | FramegateError | None]:
        """Return jobs as they are now, by their ids; the values are what is known of them.

        Of a known job only what changes is read. None means that there is no such job (any more), an error
        says why one can't be read, whatever becomes of the others.

        Raises:
            Unavailable: No job can be read.
        """
        ...

    def follow(self, on_change: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``on_change`` in the running loop whenever a job may have changed.

        Its argument is the job's id, or None where any job may have changed. What is returned ends it.
        """
        ...

    async def model_paces(self) -> Mapping[str, ModelPace]:
        """Return how fast each model is of which a job has succeeded lately."""
        ...

    async def worker_presence(self) -> WorkerPresence:
        """Return the live workers, and when each model was last served, by the store's own clock."""
        ...
