"""From a job to what sora2api says of it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from framegate.core.jobs import Job, JobState
from framegate.core.types import MediaKind
from framegate.server.dialects.sora2api.schemas import TaskState

_PREFIX = "task_"


def task_id(job: Job) -> str:
    return _PREFIX + job.id


def job_id(task: str) -> str:
    """Empty for what is no task's id."""
    return task.removeprefix(_PREFIX) if task.startswith(_PREFIX) else ""


def content_of(job: Job, links: Sequence[str]) -> str:
    """What a chat shows of the result."""
    if job.request.task.output == MediaKind.IMAGE:
        return "\n".join(f"![Generated Image]({link})" for link in links)
    return f"```html\n<video src='{links[0]}' controls></video>\n```"


def task_state(job: Job, links: Sequence[str]) -> TaskState:
    done = job.state == JobState.SUCCEEDED
    return TaskState(
        task_id=task_id(job),
        status="completed" if done else "failed" if job.state.finished else "processing",
        progress=100.0 if done else round(job.progress * 100, 1),
        model=job.model,
        prompt=job.request.prompt,
        result_urls=list(links) if done else None,
        error_message=_error(job),
        created_at=_iso(job.created_at),
        completed_at=_iso(job.finished_at) if job.finished_at else None,
        remix_target_id=job.share_id if done and job.share_id else None,
    )


def _error(job: Job) -> str | None:
    match job.state:
        case JobState.FAILED:
            return job.error.message if job.error else "The generation failed."
        case JobState.CANCELLED:
            return "The job was cancelled."
        case _:
            return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
