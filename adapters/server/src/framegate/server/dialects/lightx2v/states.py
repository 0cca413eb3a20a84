"""Turn jobs into lightx2v's states of tasks, in either vocabulary. Pure."""

from datetime import UTC, datetime

from msgspec import Struct

from framegate.core.jobs import Job, JobState
from framegate.core.types import MediaKind
from framegate.server.dialects.lightx2v.requests import VOCABULARY, Vocabulary
from framegate.server.dialects.lightx2v.result_names import RESULT_NAME, folder_of, suffix_of
from framegate.server.dialects.lightx2v.schemas import Submitted, TaskState
from framegate.server.requests.jobs import failure_message


class _Words(Struct, frozen=True):
    queued: str
    running: str
    succeeded: str
    failed: str
    cancelled: str


_WORDS = {
    Vocabulary.DOCUMENT: _Words("submitted", "running", "succeed", "failed", "failed"),
    Vocabulary.SERVER: _Words("pending", "processing", "completed", "failed", "cancelled"),
}
_CREATED = "Task created successfully"


def job_vocabulary(job: Job) -> Vocabulary:
    """Return the vocabulary of a job's states."""
    return Vocabulary(job.labels.get(VOCABULARY, Vocabulary.DOCUMENT))


def job_kind(job: Job) -> MediaKind:
    """Return whether the job makes a video or an image."""
    return job.request.task.output


def default_name(job: Job) -> str:
    """Return the name of a job's result, if its client has chosen none."""
    return job.id + suffix_of(job_kind(job))


def saved_as(job: Job) -> str:
    """Return the name of a job's result: ``save_result_path``, which ``/v1/files/download/`` accepts."""
    return job.labels.get(RESULT_NAME) or default_name(job)


def state_of(job: Job) -> JobState:
    """Return the state to show: an acknowledged cancel always wins, so it is shown at once."""
    return JobState.CANCELLED if job.cancel_requested and not job.state.finished else job.state


def submitted(job: Job) -> Submitted:
    """Return the answer to a submission."""
    word = _WORDS[job_vocabulary(job)].queued
    return Submitted(
        task_id=job.id, status=word, task_status=word, message=_CREATED, save_result_path=saved_as(job)
    )


def task_state(job: Job) -> TaskState:
    """Return the state of a task."""
    state = state_of(job)
    word: str = getattr(_WORDS[job_vocabulary(job)], state.value)
    message, error, error_type = _details(job, state)
    done = state == JobState.SUCCEEDED
    return TaskState(
        task_id=job.id,
        status=word,
        task_status=word,
        progress=1.0 if done else job.progress,
        message=message,
        file_path=f"{folder_of(job_kind(job))}/{default_name(job)}" if done else None,
        save_result_path=saved_as(job),
        start_time=_iso(job.started_at or job.created_at),
        end_time=_iso(job.finished_at) if job.finished_at else None,
        error=error,
        error_type=error_type,
    )


def _details(job: Job, state: JobState) -> tuple[str, str | None, str]:
    """Return message, error and error type."""
    match state:
        case JobState.QUEUED:
            return _CREATED, None, ""
        case JobState.RUNNING:
            return "Processing...", None, ""
        case JobState.SUCCEEDED:
            return "Task completed successfully", None, ""
        case JobState.CANCELLED:
            return "cancelled", "Task cancelled by user", "cancelled"
        case JobState.FAILED:
            message = failure_message(job)
            return message, message, job.error.code if job.error else ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
