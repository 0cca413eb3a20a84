"""How long jobs take, from how long earlier ones of their models took.

A job's work is its pixels × frames × steps, of which a model does about the same amount each second. Workers
note the pace of every job that succeeds; the time to load the model is not part of it.
"""

from collections.abc import Sequence

from msgspec import Struct

from framegate.core.concurrency import CachedRead
from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobStore, ModelPace, WorkerInfo

FRESH_SECONDS, MAX_AGE_SECONDS = 5.0, 60.0
"""How long the paces are used without being read again, and how long at all; they change with every job, but
by little."""


class Outlook(Struct, frozen=True):
    """A job's place in its queue, from 1, and in how many seconds it is likely to succeed.

    The former is None unless it waits, the latter if it is unknown; both are if the job has ended.
    """

    position: int | None = None
    seconds_left: float | None = None


def work_of(job: Job) -> float:
    """Return the pixels × frames × steps of all the job's shots; several images count as frames."""
    return float(
        sum(
            shot.width * shot.height * shot.num_frames * max(shot.num_inference_steps, 1)
            for shot in job.shots
        )
    )


class Estimates:
    """Estimate from the paces in ``store``."""

    def __init__(self, store: JobStore) -> None:
        self._paces = CachedRead(store.model_paces, fresh_for=FRESH_SECONDS)

    async def running_seconds(self, job: Job) -> float | None:
        """Return how long the whole job runs on a worker that has its model loaded; None if unknown.

        Raises:
            Unavailable: The store can't be reached.
        """
        pace = await self._pace(job.served_by)
        return pace.seconds_per_unit * work_of(job) if pace else None

    async def seconds_left(
        self, job: Job, *, position: int | None, workers: Sequence[WorkerInfo]
    ) -> float | None:
        """Return in how many seconds the job will have run; None if unknown, 0 if it has ended.

        A queued one is the ``position``-th of its queue, which ``workers`` serve. The jobs before it are
        taken to be as long as the model's usually are, and those that run to be half done. Other queues of
        the same workers, and limits on running jobs, are not taken into account.

        Raises:
            Unavailable: The store can't be reached.
        """
        if job.state.finished:
            return 0.0
        pace = await self._pace(job.served_by)
        if pace is None:
            return None
        seconds = pace.seconds_per_unit * work_of(job)
        if job.state == JobState.RUNNING:
            return seconds * (1 - job.progress)
        if position is None or not workers:
            return None
        busy = sum(bool(worker.job) for worker in workers)
        before = position - 1 + busy / 2 if busy == len(workers) else position - 1
        return before * pace.job_seconds / len(workers) + seconds

    async def _pace(self, model: str) -> ModelPace | None:
        return (await self._paces.get(max_age=MAX_AGE_SECONDS)).get(model)
