"""Turn jobs into lightx2v's states of tasks, in either vocabulary. Pure."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from framegate.core.jobs import Job, JobState, is_plain_id
from framegate.core.types import MediaKind
from framegate.server.dialects.lightx2v.changes import changes_of
from framegate.server.dialects.lightx2v.result_names import RESULT_NAME, folder_of, suffix_of
from framegate.server.dialects.lightx2v.schemas import Submitted, TaskState
from framegate.server.dialects.lightx2v.vocabulary import Vocabulary, job_vocabulary
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
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
_CREATED = "Task created successfully"


def job_kind(job: Job) -> MediaKind:
    """Return whether the job makes a video or an image."""
    return job.request.task.output


def saved_as(job: Job) -> str:
    """Return the name of a job's result, which ``/v1/files/download/`` accepts."""
    return job.labels.get(RESULT_NAME) or job.client_id + suffix_of(job_kind(job))


def _save_result_path(job: Job) -> str:
    """Return ``save_result_path``: the client's name, or the task's id, which gets its suffix at the end."""
    return saved_as(job) if job.artifacts else job.labels.get(RESULT_NAME) or job.client_id


def state_of(job: Job) -> JobState:
    """Return the state to show: an acknowledged cancel always wins, so it is shown at once."""
    return JobState.CANCELLED if job.cancel_requested and not job.state.finished else job.state


def submitted(job: Job) -> Submitted:
    """Return the answer to a submission."""
    word = _WORDS[job_vocabulary(job)].queued
    return Submitted(
        task_id=job.client_id,
        status=word,
        task_status=word,
        message=_CREATED,
        save_result_path=_save_result_path(job),
    )


def task_state(job: Job) -> TaskState:
    """Return the state of a task."""
    state, task_id = state_of(job), job.client_id
    word: str = getattr(_WORDS[job_vocabulary(job)], state)
    message, error, error_type = _details(job, state)
    done = state == JobState.SUCCEEDED
    return TaskState(
        task_id=task_id,
        status=word,
        task_status=word,
        progress=1.0 if done else job.progress,
        message=message,
        file_path=_file_path(job) if done else None,
        save_result_path=_save_result_path(job),
        start_time=_iso(job.started_at or job.created_at),
        end_time=_iso(job.finished_at) if job.finished_at else None,
        error=error,
        error_type=error_type,
        changes=changes_of(job),
    )


def _file_path(job: Job) -> str:
    """Return ``file_path``, with the task's id, or, if that would need quoting, the job's."""
    name = job.client_id if is_plain_id(job.client_id) else job.id
    return f"{folder_of(job_kind(job))}/{name}{suffix_of(job_kind(job))}"


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
            return "cancelled", "Task cancelled by user", ""
        case JobState.FAILED:
            message = failure_message(job)
            return message, message, job.error.code if job.error else ""


def _iso(seconds: float) -> str:
    """Return a time as the original prints its own: with a fraction, without a zone."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()
