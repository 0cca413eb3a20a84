"""When a client should ask again. Pure."""

from framegate.core.jobs import Job, JobState

SOONEST_MS, LATEST_MS = 250, 5_000
UNKNOWN_MS = 1_000
"""OpenAI's own default, while nothing is known of how fast the job is."""

_ASKED = 10
"""How often the client may ask until the end: its SDK keeps to what the first answer says."""
_TURN_MS = 500
"""Per job that is served before."""


def poll_after_ms(job: Job, *, position: int | None, now: float) -> int | None:
    """Milliseconds, None once the job has ended. ``position`` is its place in the queue."""
    if job.state.finished:
        return None
    if job.state == JobState.QUEUED:
        return _bounded((position or 1) * _TURN_MS)
    elapsed = now - (job.started_at or now)
    if job.progress <= 0 or elapsed <= 0:
        return UNKNOWN_MS
    left = elapsed * (1 - job.progress) / job.progress
    return _bounded(left * 1000 / _ASKED)


def _bounded(milliseconds: float) -> int:
    return round(max(SOONEST_MS, min(LATEST_MS, milliseconds)))
