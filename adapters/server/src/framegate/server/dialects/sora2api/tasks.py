"""Turn jobs into sora2api's tasks and answers. Pure."""

from collections.abc import Sequence

from msgspec import UNSET

from framegate.core.jobs import Job, JobState
from framegate.core.types import MediaKind
from framegate.server.dialects.sora2api.schemas import TaskState
from framegate.server.requests.jobs import failure_message
from framegate.server.responses.changes import field_changes
from framegate.server.responses.times import utc_text

_PREFIX = "task_"


def task_id(job: Job) -> str:
    """Return the id of a job's task."""
    return _PREFIX + job.id


def job_id(task: str) -> str:
    """Return the id of a task's job, empty if ``task`` is not a task's id."""
    return task.removeprefix(_PREFIX) if task.startswith(_PREFIX) else ""


def content_of(job: Job, links: Sequence[str]) -> str:
    """Return the content of the chat message that shows a job's result."""
    if job.request.task.output == MediaKind.IMAGE:
        return "\n".join(f"![Generated Image]({link})" for link in links)
    return f"```html\n<video src='{links[0]}' controls></video>\n```"


def task_state(job: Job, links: Sequence[str]) -> TaskState:
    """Return the state of a job's task, with links to its result."""
    done = job.state == JobState.SUCCEEDED
    return TaskState(
        task_id=task_id(job),
        status="completed" if done else "failed" if job.state.finished else "processing",
        progress=100.0 if done else round(job.progress * 100, 1),
        model=job.model,
        prompt=job.request.prompt,
        result_urls=list(links) if done else None,
        error_message=_error(job),
        created_at=utc_text(job.created_at),
        completed_at=utc_text(job.finished_at) if job.finished_at else None,
        remix_target_id=job.share_id if done and job.share_id else None,
        changes=field_changes(job) or UNSET,
    )


def _error(job: Job) -> str | None:
    match job.state:
        case JobState.FAILED:
            return failure_message(job)
        case JobState.CANCELLED:
            return "The job was cancelled."
        case _:
            return None
