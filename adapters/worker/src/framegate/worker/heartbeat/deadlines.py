"""End jobs that take too long or were cancelled, whatever their backends are busy with.

A backend leaves a job where it reports progress. One that doesn't, as it sleeps or is in native code, can't
be interrupted: once ``cancel_grace`` is over, its worker is killed, and its supervisor starts another.
Loading has no such place, so there only ``load_timeout`` ends the worker: a cancelled job doesn't wait for
its model, which is likely to be needed for the next one. A model that loads without a job, as an operator has
requested it, has the same time.
"""

import os
import signal
import time
from collections.abc import Callable

import redis
import structlog
from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.core.jobs import JobError
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.messages import Heartbeat, HeartbeatReply, HeartbeatStart

log = structlog.get_logger(__name__)


class _EndedJob(Struct):
    """An attempt that its worker is to leave, since when, and why it failed (None: it was cancelled or lost).

    ``recorded`` tells whether the store knows that it has ended.
    """

    attempt: tuple[str, int]
    since: float
    error: JobError | None = None
    recorded: bool = False


class JobDeadlines:
    """Hold one worker to the time limits of its jobs. All methods are called by one thread.

    ``notify`` passes on to the worker that it is to leave its job.
    """

    def __init__(
        self, start: HeartbeatStart, store: WorkerStore, notify: Callable[[HeartbeatReply], None]
    ) -> None:
        self._start = start
        self._store = store
        self._notify = notify
        self._ended: _EndedJob | None = None

    def reply(self, heartbeat: Heartbeat, status: LeaseStatus) -> HeartbeatReply:
        """Return the answer to a heartbeat for which the store has returned ``status``, and remember that."""
        ended = self._ended_job(heartbeat)
        if ended is None and status != LeaseStatus.OK:
            ended = self._end(heartbeat, recorded=status == LeaseStatus.LOST)
        return HeartbeatReply(heartbeat.job, heartbeat.attempt, status, ended.error if ended else None)

    def check(self, heartbeat: Heartbeat) -> None:
        """End the job if it is overdue, and kill the worker if it has not left a job that ended."""
        if not heartbeat.job:
            self._ended = None
            limit = self._start.load_timeout
            if heartbeat.loading and 0 < limit < time.monotonic() - heartbeat.since:
                self._kill(heartbeat, "model_not_loaded", limit=limit)
            return
        ended, now = self._ended_job(heartbeat), time.monotonic()
        limit, setting = self._limit(heartbeat)
        if 0 < limit < now - heartbeat.since and (ended is None or heartbeat.loading):
            self._fail(heartbeat, limit, setting)
        elif ended is not None and now - max(ended.since, heartbeat.since) > self._start.cancel_grace:
            self._record(ended)
            if not heartbeat.loading:
                self._kill(heartbeat, "job_not_left", grace=self._start.cancel_grace)

    def _ended_job(self, heartbeat: Heartbeat) -> _EndedJob | None:
        if self._ended is not None and self._ended.attempt != (heartbeat.job, heartbeat.attempt):
            self._ended = None
        return self._ended

    def _end(
        self, heartbeat: Heartbeat, error: JobError | None = None, *, recorded: bool = False
    ) -> _EndedJob:
        self._ended = _EndedJob((heartbeat.job, heartbeat.attempt), time.monotonic(), error, recorded)
        return self._ended

    def _limit(self, heartbeat: Heartbeat) -> tuple[float, str]:
        """Return how many seconds the current step may take, 0 for any number, and what setting says so."""
        if heartbeat.loading:
            return self._start.load_timeout, "worker.load_timeout"
        own, most = heartbeat.timeout, self._start.job_timeout
        if own and (not most or own < most):
            return own, heartbeat.timeout_setting
        return most, "worker.job_timeout"

    def _fail(self, heartbeat: Heartbeat, limit: float, setting: str) -> None:
        """Fail an overdue job: another attempt would hardly be quicker, and only take the next worker."""
        step = "Loading the model" if heartbeat.loading else "The job"
        message = (
            f"{step} took longer than {limit:g} s, so it was ended. "
            f"The server's operator can raise {setting}."
        )
        log.error("job_timed_out", job_id=heartbeat.job, step=step, limit=limit, setting=setting)
        ended = self._end(heartbeat, JobError(GenerationFailed.code, message))
        self._notify(self.reply(heartbeat, LeaseStatus.LOST))
        self._record(ended)
        if heartbeat.loading:
            self._kill(heartbeat, "model_not_loaded", limit=limit)

    def _record(self, ended: _EndedJob) -> None:
        """Record how the job ended. A worker that leaves it later finds that done."""
        if ended.recorded:
            return
        job_id, attempt = ended.attempt
        try:
            if ended.error is not None:
                self._store.fail(job_id, attempt, ended.error)
            else:
                self._store.finish_cancelled(job_id, attempt)
            ended.recorded = True
        except redis.RedisError as error:
            log.warning("valkey_unreachable", job_id=job_id, error=type(error).__name__)

    def _kill(self, heartbeat: Heartbeat, reason: str, **details: float) -> None:
        log.error("worker_killed", reason=reason, job_id=heartbeat.job, pid=self._start.worker.pid, **details)
        os.kill(self._start.worker.pid, signal.SIGKILL)
