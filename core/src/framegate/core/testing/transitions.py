"""Reference model of a job's transitions: every step between its states as a pure function.

In production Lua scripts in `framegate.storage` do this. Only tests and the in-memory stores execute these
functions: state machine tests hold the scripts to them.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from framegate.core.errors import WorkerLost
from framegate.core.jobs import MAX_ATTEMPTS, Job, JobError, JobState
from framegate.core.types import Artifact


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
    """Give a queued job to a worker."""
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
    """Record how far the worker is. Progress never goes back within an attempt."""
    _require_attempt(job, attempt)
    return replace(job, progress=max(job.progress, min(1.0, progress)), message=message)


def succeed(job: Job, attempt: int, artifacts: tuple[Artifact, ...], now: float) -> Job:
    """Close the job with its results. A cancel that was acknowledged before wins."""
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(
        job, state=JobState.SUCCEEDED, artifacts=artifacts, progress=1.0, message="", finished_at=now
    )


def fail(job: Job, attempt: int, error: JobError, now: float) -> Job:
    """Close the job with an error. A cancel that was acknowledged before wins."""
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(job, state=JobState.FAILED, error=error, message="", finished_at=now)


def request_cancel(job: Job, now: float) -> Job:
    """Cancel a queued job at once, ask a running one to stop, leave a finished one as it is."""
    match job.state:
        case JobState.QUEUED:
            return _cancelled(job, now)
        case JobState.RUNNING:
            return replace(job, cancel_requested=True)
        case _:
            return job


def finish_cancelled(job: Job, attempt: int, now: float) -> Job:
    """Close a job that its worker has stopped as asked."""
    _require_attempt(job, attempt)
    if not job.cancel_requested:
        raise IllegalTransition(f"job {job.id} was not asked to stop")
    return _cancelled(job, now)


def requeue(job: Job, attempt: int, now: float) -> Job:
    """Requeue the job of a worker that shuts down; the attempt does not count."""
    _require_attempt(job, attempt)
    if job.cancel_requested:
        return _cancelled(job, now)
    return replace(_requeued(job), attempt=job.attempt - 1)


def expire(job: Job, now: float) -> Job:
    """Requeue a job whose worker's lease ran out, or fail it after `MAX_ATTEMPTS`."""
    _require(job, JobState.RUNNING)
    if job.cancel_requested:
        return _cancelled(job, now)
    if job.attempt >= MAX_ATTEMPTS:
        message = f"The worker died {MAX_ATTEMPTS} times while running this job."
        return replace(
            job, state=JobState.FAILED, error=JobError(WorkerLost.code, message), message="", finished_at=now
        )
    return _requeued(job)


def _requeued(job: Job) -> Job:
    return replace(job, state=JobState.QUEUED, worker="", progress=0.0, message="", started_at=None)


def _cancelled(job: Job, now: float) -> Job:
    return replace(job, state=JobState.CANCELLED, message="", finished_at=now)


def stored_bytes(jobs: Iterable[Job]) -> int:
    """Return how many bytes count as stored for these jobs, as long as their files have not been removed."""
    return sum(job.input_bytes + sum(made.size for made in job.artifacts) for job in jobs)
