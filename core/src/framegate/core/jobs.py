"""A job, its states, and every step between them as a pure function.

queued ──claim──▶ running ──succeed──▶ succeeded
  │ ▲                │ ├────fail─────▶ failed        (also: its worker died for the last time)
  │ └──hand_back─────┘ └────cancel───▶ cancelled
  └──cancel──▶ cancelled

The store in Valkey does the same steps as Lua scripts; a state machine test holds the two together.
"""

import secrets
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from framegate.core.models import Change
from framegate.core.types import Artifact, GenerationRequest, MediaRef, Shot

MAX_ATTEMPTS = 3


def new_share_id() -> str:
    return f"s_{secrets.token_hex(16)}"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobError(Struct, frozen=True):
    """Why a job failed: the ``code`` of `framegate.core.errors` and a sentence for its owner."""

    code: str
    message: str


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation, from its acceptance on. Times are seconds since the epoch.

    ``model`` is the name that was asked for, ``served_by`` the id of the ModelSpec behind it. ``owner``
    is the name of the key that submitted it. ``labels`` are the dialect's own notes on it. Every video has
    a ``share_id``: whoever is given it may make new videos from this one. A ``collection`` is what its owner
    finds it in, page by page. ``webhooks`` are the URLs that are told of its end.

    A higher ``priority`` is served first. ``running_limits`` are the groups that the job counts in while it
    runs, each with the most that may run at once; no other job of such a group starts beyond it.
    """

    id: str
    model: str
    served_by: str
    queue: str
    dialect: str
    request: GenerationRequest
    shots: tuple[Shot, ...]
    created_at: float
    owner: str = ""
    priority: int = 0
    running_limits: dict[str, int] = {}
    changes: tuple[Change, ...] = ()
    request_id: str = ""
    labels: dict[str, str] = {}
    share_id: str = ""
    collection: str = ""
    webhooks: tuple[str, ...] = ()

    state: JobState = JobState.QUEUED
    attempt: int = 0
    worker: str = ""
    cancel_requested: bool = False
    progress: float = 0.0
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    error: JobError | None = None

    @property
    def seed(self) -> int:
        return self.shots[0].seed

    @property
    def inputs(self) -> tuple[MediaRef, ...]:
        request = self.request
        given = (request.image, request.mask, request.last_image, request.video)
        return tuple(ref for ref in given if ref)

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all that may be stored for it: results and inputs."""
        results = (key for artifact in self.artifacts for key in artifact.files)
        return (*results, *self.looks, *(ref.key for ref in self.inputs))

    @property
    def looks(self) -> tuple[str, ...]:
        """The keys of the looks at its unfinished work, in the order in which they come."""
        return tuple(f"results/{self.id}/look-{number}.png" for number in range(self.request.num_looks))


class IllegalTransition(Exception):
    """A step that the job's state does not allow; nothing was changed."""


def _require(job: Job, *states: JobState) -> None:
    if job.state not in states:
        raise IllegalTransition(f"job {job.id} is {job.state}, not {' or '.join(states)}")


def _require_attempt(job: Job, attempt: int) -> None:
    _require(job, JobState.RUNNING)
    if job.attempt != attempt:
        raise IllegalTransition(f"job {job.id} is at attempt {job.attempt}, not {attempt}")


def claim(job: Job, worker: str, now: float) -> Job:
    """A worker takes a queued job."""
    _require(job, JobState.QUEUED)
    return replace(
        job,
        state=JobState.RUNNING,
        worker=worker,
        attempt=job.attempt + 1,
        started_at=now,
        progress=0.0,
        message="",
    )


def advance(job: Job, attempt: int, progress: float, message: str) -> Job:
    """The worker tells how far it is. Progress never goes back within an attempt."""
    _require_attempt(job, attempt)
    return replace(job, progress=max(job.progress, min(1.0, progress)), message=message)


def succeed(job: Job, attempt: int, artifacts: tuple[Artifact, ...], now: float) -> Job:
    """The worker closes its job. A cancel that was acknowledged before wins."""
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(
        job, state=JobState.SUCCEEDED, artifacts=artifacts, progress=1.0, message="", finished_at=now
    )


def fail(job: Job, attempt: int, error: JobError, now: float) -> Job:
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(job, state=JobState.FAILED, error=error, message="", finished_at=now)


def request_cancel(job: Job, now: float) -> Job:
    """Queued: cancelled at once. Running: marked, and its worker leaves it. Finished: nothing."""
    match job.state:
        case JobState.QUEUED:
            return _cancelled(job, now)
        case JobState.RUNNING:
            return replace(job, cancel_requested=True)
        case _:
            return job


def leave(job: Job, attempt: int, now: float) -> Job:
    """The worker has stopped working on a job whose cancel was asked for."""
    _require_attempt(job, attempt)
    if not job.cancel_requested:
        raise IllegalTransition(f"job {job.id} was not asked to stop")
    return _cancelled(job, now)


def hand_back(job: Job, attempt: int, now: float) -> Job:
    """A worker that shuts down gives its job back unfinished; that attempt does not count."""
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(_requeued(job), attempt=job.attempt - 1)


def expire(job: Job, now: float) -> Job:
    """The lease of the job's worker ran out: another may take it, but not for ever."""
    _require(job, JobState.RUNNING)
    if job.cancel_requested:
        return _cancelled(job, now)
    if job.attempt >= MAX_ATTEMPTS:
        message = f"The worker died {MAX_ATTEMPTS} times while running this job."
        return replace(
            job, state=JobState.FAILED, error=JobError("worker_lost", message), message="", finished_at=now
        )
    return _requeued(job)


def _requeued(job: Job) -> Job:
    return replace(job, state=JobState.QUEUED, worker="", progress=0.0, message="", started_at=None)


def _cancelled(job: Job, now: float) -> Job:
    return replace(job, state=JobState.CANCELLED, message="", finished_at=now)
