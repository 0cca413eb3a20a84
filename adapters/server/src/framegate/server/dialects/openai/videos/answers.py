"""Turn jobs and characters into the answers of OpenAI's videos API. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from framegate.core.characters import Character
from framegate.core.jobs import Job, JobState
from framegate.server.dialects.openai.extras import metadata_of
from framegate.server.dialects.openai.videos.requests import REMIXED_FROM
from framegate.server.dialects.openai.videos.schemas import CharacterObject, Video, VideoError
from framegate.server.requests.jobs import failure_message
from framegate.server.responses.changes import field_changes

SOONEST_MS, LATEST_MS = 250, 5_000
UNKNOWN_MS = 1_000
"""OpenAI's own default, for as long as the job's speed is unknown."""

_POLLS_LEFT = 10
"""The number of polls planned until the end: OpenAI's SDKs keep the interval of the first response."""
_QUEUED_JOB_MS = 500
"""Added for each place in the queue."""

_FIELDS = {"duration": "seconds"}
_STATUS: Mapping[JobState, Any] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


def video_object(job: Job, retention: float) -> Video:
    """Return a job as this API shows it; results are kept for ``retention`` seconds."""
    done = job.state == JobState.SUCCEEDED
    shot = job.shots[0]
    made = job.artifacts[0] if job.artifacts else shot
    ended, metadata = job.finished_at, metadata_of(job.labels)
    return Video(
        id=job.id,
        model=job.model,
        status=_STATUS[job.state],
        progress=100 if done else int(job.progress * 100),
        created_at=int(job.created_at),
        completed_at=int(ended) if ended is not None and done else None,
        expires_at=int(ended + retention) if ended is not None and done else None,
        prompt=job.request.prompt,
        size=f"{made.width}x{made.height}",
        seconds=f"{round(_length(job), 2):g}",
        seed=job.seed,
        remixed_from_video_id=job.labels.get(REMIXED_FROM),
        error=_error(job),
        changes=field_changes(job, _FIELDS) or UNSET,
        metadata=UNSET if metadata is None else metadata,
    )


def _length(job: Job) -> float:
    """Return the length in seconds, of the whole video where one is extended."""
    if job.artifacts:
        return job.artifacts[0].duration
    fps = job.shots[0].fps
    source = job.request.video if job.request.extends_video else None
    before = max(1, round(source.duration * fps)) if source else 0
    return (before + sum(shot.frames_kept for shot in job.shots)) / fps


def _error(job: Job) -> VideoError | None:
    match job.state:
        case JobState.FAILED:
            return VideoError(job.error.code if job.error else "generation_failed", failure_message(job))
        case JobState.CANCELLED:
            return VideoError("cancelled", "The video was cancelled.")
        case _:
            return None


def character_object(character: Character) -> CharacterObject:
    """Return a character as this API shows it."""
    return CharacterObject(character.username, character.display_name, int(character.created_at))


def poll_after_ms(job: Job, *, position: int | None, now: float) -> int | None:
    """Return the milliseconds after which a client should poll again, None once the job has ended.

    ``position`` is the job's place in the queue, counted from 1; ``now`` is in seconds since the epoch.
    """
    if job.state.finished:
        return None
    if job.state == JobState.QUEUED:
        return _bounded((position or 1) * _QUEUED_JOB_MS)
    elapsed = now - (job.started_at or now)
    if job.progress <= 0 or elapsed <= 0:
        return UNKNOWN_MS
    left = elapsed * (1 - job.progress) / job.progress
    return _bounded(left * 1000 / _POLLS_LEFT)


def _bounded(milliseconds: float) -> int:
    return round(max(SOONEST_MS, min(LATEST_MS, milliseconds)))
