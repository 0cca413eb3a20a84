"""Who is next: the order in which waiting jobs are served, as pure functions.

A higher priority goes first. Within a priority the keys take turns, and the one that was served longest ago
is next, so that a thousand jobs of one key don't hold up another's only one. A key's own jobs are served in
the order of their submission. A job whose running limits are reached lets others pass, and so does one whose
model a worker does not have.

The store in Valkey does the same as Lua scripts; a state machine test holds the two together.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from framegate.core.jobs import Job

Turn = tuple[str, int, str]
"""A queue, a priority, and the owner whose turn it is there."""


def scheduling_key(job: Job) -> Turn:
    return job.queue, job.priority, job.owner


def next_job(
    waiting: Iterable[Job],
    running: Iterable[Job],
    served: Mapping[Turn, int],
    queue: str,
    models: Collection[str],
) -> Job | None:
    """The job that is served next in ``queue`` by a worker that has these ``models``; ``waiting`` are in the
    order of their submission. ``served`` says when each owner was served last, as a number that grows."""
    counts = Counter(group for job in running for group in job.running_limits)
    allowed = [
        job
        for job in waiting
        if job.queue == queue
        and job.served_by in models
        and all(counts[group] < most for group, most in job.running_limits.items())
    ]
    return min(
        allowed, key=lambda job: (-job.priority, served.get(scheduling_key(job), 0), job.owner), default=None
    )


def position(job: Job, waiting: Sequence[Job], served: Mapping[Turn, int]) -> int:
    """How many of ``waiting`` are served before ``job``, plus one, if no limit holds any up."""
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
