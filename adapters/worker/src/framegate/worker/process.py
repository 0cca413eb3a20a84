"""The worker process: takes tickets, claims jobs, runs them, closes them."""

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import dramatiq
import redis
import structlog

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import FramegateError, JobCancelled, OutOfMemory, Unavailable
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import ArtifactStore, WorkerInfo
from framegate.core.types import Artifact
from framegate.storage.connections import (
    connect,
    connect_for_tickets,
    is_passing,
    is_refusal,
    misconfigured,
)
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.worker.broker import ACTOR_NAME, make_broker, make_worker
from framegate.worker.health_monitor import HealthMonitor
from framegate.worker.heartbeat.client import ActiveJob, HeartbeatClient
from framegate.worker.heartbeat.stop_signals import LEAVE_SECONDS, STOPPING
from framegate.worker.model_cache import ModelCache
from framegate.worker.running.context import HandBack
from framegate.worker.running.job_runner import JobRunner

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

REPORT_FOR_SECONDS = 600.0
"""How long a worker tries to tell how a job ended while Valkey can't be reached."""
RETRY_SECONDS = 0.5
EMPTY_SECONDS = 0.05


class WorkerProcess:
    """One worker on one device, running one job at a time.

    ``shutdown_grace``: seconds that a running job gets to finish once the worker is told to stop; then it
    is handed back to the queue, at the latest `LEAVE_SECONDS` later.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        artifacts: ArtifactStore,
        models: ModelCache,
        version: str,
        shutdown_grace: float,
        health: HealthMonitor,
    ) -> None:
        self.id = uuid.uuid4().hex
        self._queue_url = queue_url
        self._client = connect(queue_url)
        self._artifacts = artifacts
        self._models = models
        self._version = version
        self._grace = shutdown_grace
        self._health = health
        self._started_at = time.time()
        self._leases = WorkerStore(self._client, self.id)
        self._abandon = threading.Event()
        self._stop = threading.Event()
        self._runner = JobRunner(artifacts, self._abandon)
        self._heartbeat = HeartbeatClient(queue_url, self._leases, self._describe, grace=shutdown_grace)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; call it from the main thread."""
        for number in STOPPING:
            signal.signal(number, self._end)
        queues = {spec.queue for spec in self._models.specs.values()}
        tickets = connect_for_tickets(self._queue_url)
        broker = make_broker(tickets)
        for queue in queues:
            broker.declare_queue(queue)
        dramatiq.Actor(
            self.run_next_job,
            broker=broker,
            actor_name=ACTOR_NAME,
            queue_name=min(queues),
            priority=0,
            options={},
        )
        self._artifacts.clean_up(unused_for=0.0)
        if not self._connected():
            return
        self._health.start()
        self._heartbeat.start()
        consumer = make_worker(broker, queues)
        consumer.start()
        log.info(
            "worker_started",
            worker=self.id,
            pid=os.getpid(),
            device=self._models.device,
            models=sorted(self._models.specs),
        )
        self._stop.wait()
        log.info("worker_stopping", worker=self.id)
        grace = threading.Timer(self._grace, self._abandon.set)
        grace.start()
        consumer.stop(timeout=int((self._grace + LEAVE_SECONDS) * 1000))
        grace.cancel()
        if (late := self._heartbeat.held) is not None:
            self._hand_back_for(late)
        self._health.stop()
        self._heartbeat.stop()
        if late is not None:
            os._exit(0)  # nothing else ends the native code that its thread is in
        self._models.unload_all()
        for client in (tickets, self._client):
            client.close()

    def _end(self, *_: object) -> None:
        self._stop.set()

    def _hand_back_for(self, late: ActiveJob) -> None:
        """What the job's own thread says of it afterwards is of no effect."""
        job = late.job
        if self._reach(lambda: self._leases.requeue(job.id, job.attempt)) == JobState.QUEUED:
            log.warning("job_handed_back", job_id=job.id, by="worker")

    def run_next_job(self, queue: str) -> None:
        """What a ticket buys: the job that the store picks, if there is one."""
        if self._stop.is_set():
            return
        job = self._claim(queue)
        if job is None:
            # Those that wait may be for workers with other models: leave them the next tickets.
            self._stop.wait(EMPTY_SECONDS)
            return
        with structlog.contextvars.bound_contextvars(job_id=job.id, request_id=job.request_id):
            active = self._heartbeat.active(job)
            try:
                self._work_on(active)
            finally:
                self._heartbeat.release()

    def _work_on(self, active: ActiveJob) -> None:
        job = active.job
        log.info("job_started", model=job.model, served_by=job.served_by, attempt=job.attempt)
        started = time.monotonic()
        artifacts: tuple[Artifact, ...] = ()
        try:
            if not self._models.holds(job.served_by):
                active.report(0.0, f"loading {job.served_by}")
            with translate_disk_full():
                artifacts = self._runner.run(active, self._models.get(job.served_by))
        except HandBack:
            outcome = self._reach(lambda: self._leases.requeue(job.id, job.attempt))
        except JobCancelled:
            outcome = self._reach(lambda: self._leases.leave(job))
        except Exception as error:
            if isinstance(error, OutOfMemory):
                self._models.unload_others(job.served_by)
            reason = _reason(error)
            outcome = self._reach(lambda: self._leases.fail(job, reason))
        else:
            outcome = self._reach(lambda: self._leases.succeed(job, artifacts))
        if outcome != JobState.SUCCEEDED:
            self._remove(*job.partial_image_keys, *(artifact.key for artifact in artifacts))
        log.info("job_ended", state=outcome or "lost", seconds=round(time.monotonic() - started, 3))

    def _remove(self, *keys: str) -> None:
        """What can't be removed now is an orphan, and goes with those."""
        for key in keys:
            with suppress(Unavailable):
                self._artifacts.delete(key)

    def _connected(self) -> bool:
        """Wait until Valkey takes writes; False if the worker is told to end before.

        Raises:
            ConfigError: it never will.
        """
        while not self._stop.is_set():
            try:
                self._leases.announce(self._describe())
            except redis.RedisError as error:
                if not is_passing(error):
                    raise misconfigured(error) from None
                _tell_of(error)
                self._stop.wait(RETRY_SECONDS)
            else:
                return True
        return False

    def _claim(self, queue: str) -> Job | None:
        while not self._stop.is_set():
            try:
                return self._leases.claim(queue, self._models.specs)
            except redis.RedisError as error:
                if not is_passing(error):
                    raise
                _tell_of(error)
                self._stop.wait(RETRY_SECONDS)
        return None

    def _reach(self, call: Callable[[], Answer]) -> Answer:
        """The answer of Valkey, however long it takes to come back, up to `REPORT_FOR_SECONDS`."""
        deadline = time.monotonic() + REPORT_FOR_SECONDS
        while True:
            try:
                return call()
            except redis.RedisError as error:
                if not is_passing(error) or time.monotonic() > deadline:
                    raise
                _tell_of(error)
                time.sleep(RETRY_SECONDS)

    def _describe(self) -> WorkerInfo:
        return WorkerInfo(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._models.device,
            version=self._version,
            models=tuple(sorted(self._models.specs)),
            started_at=self._started_at,
            health_findings=self._health.found,
        )


def _tell_of(error: redis.RedisError) -> None:
    if is_refusal(error):
        log.warning("valkey_refuses", reason=str(error))
    else:
        log.warning("valkey_unreachable", error=type(error).__name__)


def _reason(error: Exception) -> JobError:
    """What the job's owner is told; the traceback goes to the log alone."""
    if isinstance(error, FramegateError):
        log.warning("job_failed", code=error.code, reason=error.message)
        return JobError(error.code, error.message)
    if isinstance(error, MemoryError):
        log.error("job_failed", exc_info=error)
        return JobError(OutOfMemory.code, "Out of memory; lower the resolution or the number of frames.")
    log.error("job_failed", exc_info=error)
    return JobError(
        "internal_error", "The model failed with an unexpected error; the server's log has the details."
    )
