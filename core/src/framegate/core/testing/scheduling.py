"""Reference model of scheduling: the order in which waiting jobs are served, as pure functions.

In production Lua scripts in `framegate.storage` do this. Only tests and the in-memory stores execute these
functions: state machine tests hold the scripts to them.

Jobs of a higher priority are served first. Keys of equal priority are served round-robin, the one that was
served longest ago first, so that one key's thousand jobs don't delay another key's single job. A key's own
jobs are served in the order of their submission. A job is skipped while its running limits are reached, or if
the worker does not have its model.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from framegate.core.jobs import Job

SchedulingKey = tuple[str, int, str]
"""The queue, the priority and the owner that jobs are served by in rotation."""


def scheduling_key(job: Job) -> SchedulingKey:
    """Return what the job is served by in rotation."""
    return job.queue, job.priority, job.owner


def next_job(
    waiting: Iterable[Job],
    running: Iterable[Job],
    served: Mapping[SchedulingKey, int],
    queue: str,
    models: Collection[str],
) -> Job | None:
    """Return the job of ``queue`` that a worker with these ``models`` is given next, or None.

    ``waiting`` jobs are in the order of their submission. ``served`` says when each key was served last, as a
    growing number.
    """
    counts = Counter(group for job in running for group in job.running_limits)
    allowed = [
        job
        for job in waiting
        if job.queue == queue
        and job.served_by in models
        and all(counts[group] < limit for group, limit in job.running_limits.items())
    ]
    return min(
        allowed, key=lambda job: (-job.priority, served.get(scheduling_key(job), 0), job.owner), default=None
    )


def position(job: Job, waiting: Sequence[Job], served: Mapping[SchedulingKey, int]) -> int:
    """Return how many of ``waiting`` are served before ``job``, plus one, ignoring limits."""
    ahead = sum(other.queue == job.queue and other.priority > job.priority for other in waiting)
    level = Counter(
        other.owner for other in waiting if (other.queue, other.priority) == (job.queue, job.priority)
    )
    own = [other.id for other in waiting if scheduling_key(other) == scheduling_key(job)].index(job.id) + 1

    def order(owner: str) -> tuple[int, str]:
        return served.get((job.queue, job.priority, owner), 0), owner

    for owner, count in level.items():
        if owner != job.owner:
            # Who comes before the job's owner is served once more until the job's turn.
            ahead += min(count, own if order(owner) < order(job.owner) else own - 1)
    return ahead + own
