"""The worker process: take tickets, claim jobs, run them, and record how they ended."""

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue

import dramatiq
import redis
import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, stop_never, wait_fixed
from tenacity.stop import stop_base

from framegate.cli.garbage import resume_collection
from framegate.core.backend import Backend
from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import FramegateError, JobCancelled, OutOfMemory, Unavailable
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.models import ModelSpec
from framegate.core.ports import ArtifactStore, ModelRequest, WorkerInfo
from framegate.core.settings import VideoEncoderChoice
from framegate.core.types import Artifact
from framegate.core.workers import worker_names
from framegate.media.video.codecs import VideoCodecs
from framegate.storage.connections import (
    connect,
    connect_for_tickets,
    is_refusal,
    is_transient,
)
from framegate.storage.jobs.records import TICKETS
from framegate.storage.jobs.worker_store import LoadVerdict, NextClaim, WorkerStore
from framegate.worker.broker import ACTOR_NAME, TicketBroker, make_worker
from framegate.worker.health_monitor import HealthMonitor
from framegate.worker.heartbeat.child import HeartbeatLauncher
from framegate.worker.heartbeat.client import ActiveJob, HeartbeatClient
from framegate.worker.heartbeat.stop_signals import LEAVE_SECONDS, STOP_SIGNALS
from framegate.worker.model_cache import ModelCache
from framegate.worker.model_upkeep import ModelUpkeep
from framegate.worker.queue_rotation import QueueRotation
from framegate.worker.resting_models import RestingModels
from framegate.worker.running.context import JobRequeued, raise_if_stopped
from framegate.worker.running.job_runner import JobRunner

log = structlog.get_logger(__name__)

RECORD_FOR_SECONDS = 600.0
"""How long a worker tries to record how a job ended while Valkey can't be reached."""
RETRY_SECONDS = 0.5
INTERRUPTED_SECONDS = 1.0
"""How long an interrupted worker takes to leave its job, and as long to requeue it."""
SIGNAL_SECONDS = 1.0
"""How late a stop signal may be noticed."""
_HAS_LEFT = 0  # among signals; none has this number


class WorkerProcess:
    """Run jobs on one device, one at a time.

    ``shutdown_grace`` is how many seconds a running job may continue after a stop signal. Then it is
    requeued, at most `LEAVE_SECONDS` later. A job whose model takes longer than ``load_timeout`` seconds to
    load, or that then takes longer than ``job_timeout`` or its own limit, fails (0: it may take as long as it
    likes). If its backend doesn't leave a job within ``cancel_grace`` seconds after its end, the process is
    killed by its heartbeat process, which ``launcher`` launches. ``video_encoder`` is as for `VideoCodecs`.
    ``on_start`` is called once it takes jobs.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        prefix: str,
        check_start: Callable[[], None],
        artifacts: ArtifactStore,
        models: ModelCache,
        version: str,
        shutdown_grace: float,
        load_timeout: float,
        job_timeout: float,
        cancel_grace: float,
        video_encoder: VideoEncoderChoice,
        health: HealthMonitor,
        launcher: HeartbeatLauncher,
        on_start: Callable[[], None],
    ) -> None:
        self.id = uuid.uuid4().hex
        self._queue_url = queue_url
        self._prefix = prefix
        self._check_start = check_start
        self._client = connect(queue_url)
        self._artifacts = artifacts
        self._models = models
        self._version = version
        self._grace = shutdown_grace
        self._health = health
        self._on_start = on_start
        self._started_at = time.time()
        names = worker_names(socket.gethostname(), models.device)
        self._store = WorkerStore(self._client, self.id, names=names, prefix=prefix)
        self._abandon = threading.Event()
        self._stop = threading.Event()
        self._is_stopping = self._is_interrupted = False
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._codecs = VideoCodecs(models.device, choice=video_encoder)
        self._runner = JobRunner(artifacts, self._abandon, self._codecs)
        self._resting = RestingModels()
        self._queues = QueueRotation(
            lambda: {spec.queue for spec in self._awake_models().values()}, self._store.is_drained
        )
        self._until_stopped = _retrying(stop_never, self._sleep_until_stopped)
        self._record = _retrying(stop_after_delay(RECORD_FOR_SECONDS), time.sleep)
        self._upkeep = ModelUpkeep(
            models,
            self._resting,
            begin_load=self._begin_load,
            end_load=lambda: self._record(self._store.end_load),
            loading=lambda: self._heartbeat.loading_model(),
            announce=lambda: self._heartbeat.announce(),
            is_stopping=self._stop.is_set,
        )
        self._heartbeat = HeartbeatClient(
            launcher,
            queue_url,
            prefix,
            self._store,
            self._describe,
            on_model_requests=self._upkeep.receive,
            grace=shutdown_grace,
            load_timeout=load_timeout,
            job_timeout=job_timeout,
            cancel_grace=cancel_grace,
        )
        models.on_change = self._heartbeat.announce

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; both, or two SIGINTs, end it at once. Call it from the main thread.

        Raises:
            ConfigError: The queue's server or the storage can't be used as they are set up.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop_signal)
        tickets = connect_for_tickets(self._queue_url)
        broker = TicketBroker(
            tickets, self._queues, prefix=self._prefix, upkeep_due=lambda: self._upkeep.is_due
        )
        dramatiq.Actor(
            self.run_next_job,
            broker=broker,
            actor_name=ACTOR_NAME,
            queue_name=TICKETS,
            priority=0,
            options={},
        )
        self._artifacts.clean_up()
        try:
            self._until_stopped(self._check_start)
        except _Stopped:
            return
        self._codecs.start_probe()
        self._health.start()
        self._heartbeat.start()
        consumer = make_worker(broker)
        consumer.start()
        log.info(
            "worker_started",
            worker=self.id,
            pid=os.getpid(),
            device=self._models.device,
            models=sorted(self._models.specs),
        )
        self._on_start()
        resume_collection()
        first = self._next_signal()
        running_jobs = int(self._heartbeat.active_job is not None)
        log.info("worker_stopping", worker=self.id, running_jobs=running_jobs, at_most=float(self._grace))
        loads_for_nobody = self._heartbeat.is_loading_model
        if not loads_for_nobody:
            self._leave_job(consumer, first)
        late_job: ActiveJob | None = None
        while (active_job := self._heartbeat.active_job) is not None and active_job is not late_job:
            late_job = active_job  # which may still end at this moment, and another one be claimed
            self._requeue_for(late_job)
        self._health.stop()
        self._heartbeat.stop()
        if late_job is not None or loads_for_nobody:
            os._exit(0)  # nothing else ends the native code that its thread is in
        self._models.unload_all()
        for client in (tickets, self._client):
            client.close()

    def _on_stop_signal(self, number: int, _frame: object) -> None:
        # A second signal may come while the first is handled: of all this, only the queue allows for that.
        if not self._is_stopping:
            self._is_stopping = True
            self._stop.set()
        self._signals.put(number)

    def _next_signal(self) -> int:
        # Python runs handlers in this thread alone, and a signal that comes right after another one may
        # interrupt any thread, which doesn't wake this one.
        while True:
            with suppress(Empty):
                return self._signals.get(timeout=SIGNAL_SECONDS)

    def _leave_job(self, consumer: dramatiq.Worker, first: int) -> None:
        """Wait until the running job, if there is one, has ended or was left, or its time is up."""
        grace = threading.Timer(self._grace, self._abandon.set)
        grace.start()

        def stop() -> None:
            consumer.stop(timeout=int((self._grace + LEAVE_SECONDS) * 1000))
            self._signals.put(_HAS_LEFT)

        # In a thread of its own, so that a signal can end the wait.
        stopping = threading.Thread(target=stop, name="stop", daemon=True)
        stopping.start()
        received = [first]
        while (number := self._next_signal()) != _HAS_LEFT:
            received.append(number)
            if signal.SIGINT in received:  # of two that come together, Python handles SIGINT first
                self._is_interrupted = True
                self._abandon.set()
                stopping.join(INTERRUPTED_SECONDS)
                break
        grace.cancel()

    def _requeue_for(self, late_job: ActiveJob) -> None:
        """Requeue a job whose own thread can't leave it; what that thread records later has no effect."""
        job = late_job.job

        def requeue() -> None:
            if self._record(self._store.requeue, job.id, job.attempt) == JobState.QUEUED:
                log.warning("job_requeued", job_id=job.id, by="worker")

        requeueing = threading.Thread(target=requeue, name="requeue", daemon=True)
        requeueing.start()
        requeueing.join(INTERRUPTED_SECONDS if self._is_interrupted else None)

    def run_next_job(self, queue: str) -> None:
        """Run the job that the store picks for a ticket of ``queue``, and those that wait after it.

        The worker takes the next ticket in the step that ends a job, so that no idle time lies between two,
        unless something is to be done to the models first. Without a queue, "", that is done.
        """
        if self._stop.is_set():
            return
        if not queue:
            self._upkeep.run()
            return
        active_job = self._start(queue, self._claim(queue))
        while active_job is not None:
            job = active_job.job
            with structlog.contextvars.bound_contextvars(job_id=job.id, request_id=job.request_id):
                try:
                    if self._stop.is_set():
                        self._hand_back(job)
                        return
                    active_job = self._run_job(active_job)
                except BaseException:
                    self._heartbeat.end_job()
                    raise

    def _start(self, queue: str, job: Job | None) -> ActiveJob | None:
        """Keep the lease of a claimed job from here on; ``queue`` is that of the ticket, "" without one."""
        if job is not None:
            self._queues.found_job(job.queue)
            return self._heartbeat.start_job(job)
        if queue:
            self._queues.found_nothing(queue)
        self._heartbeat.end_job()
        return None

    def _hand_back(self, job: Job) -> None:
        """Requeue a job that was claimed while the stop signal came; no stopping worker begins one."""
        if self._record(self._store.requeue, job.id, job.attempt) == JobState.QUEUED:
            log.info("job_requeued", by="worker")
        self._heartbeat.end_job()

    def _run_job(self, active_job: ActiveJob) -> ActiveJob | None:
        """Run a job to its end, and return the next one if there was a ticket."""
        job = active_job.job
        log.info("job_started", model=job.model, served_by=job.served_by, attempt=job.attempt)
        started = time.monotonic()
        artifacts: tuple[Artifact, ...] = ()
        backend: Backend | None = None
        then: NextClaim | None = None
        try:
            with translate_disk_full():
                backend = self._loaded_model(active_job)
                raise_if_stopped(active_job, self._abandon)
                artifacts = self._runner.run(active_job, backend)
                seconds = active_job.seconds
        except JobRequeued:
            outcome = self._record(self._store.requeue, job.id, job.attempt)
        except JobCancelled:
            outcome = self._record_left(active_job)
        except Exception as error:
            if isinstance(error, OutOfMemory | MemoryError):
                self._models.unload_others(job.served_by)
            reason = _reason(error)
            spec = self._models.specs.get(job.served_by)
            if spec is not None and (backend is None or _is_unexpected(error)):
                self._resting.note_failure(spec, reason.message)
            outcome = self._record(self._store.fail, job.id, job.attempt, reason)
        else:
            self._resting.note_success(job.served_by)
            outcome, then = self._record(self._succeed, job, artifacts, seconds)
        self._models.note_use(job.served_by)
        # The job has ended: what follows may take its time.
        next_job = self._start(then.queue, then.job) if then else self._start("", None)
        if outcome != JobState.SUCCEEDED:
            self._delete(*job.partial_image_keys, *(artifact.key for artifact in artifacts))
        seconds = round(time.monotonic() - started, 3)
        log.info("job_ended", state=outcome or "lost", model=job.model, seconds=seconds)
        return next_job

    def _succeed(
        self, job: Job, artifacts: tuple[Artifact, ...], seconds: float
    ) -> tuple[JobState | None, NextClaim]:
        """Record a job's result, and claim the next job in the same step.

        If the worker is to stop, or models wait to be loaded or unloaded, it takes no ticket. It only asks
        for the job that an earlier try may have claimed, whose reply was lost.
        """
        queues = () if self._stop.is_set() or self._upkeep.is_due else self._queues.open_queues()
        then = NextClaim(queues, self._awake_models())
        return self._store.succeed(job, artifacts, seconds=seconds, then=then), then

    def _record_left(self, active_job: ActiveJob) -> JobState | None:
        """Record a job that was left: it was cancelled, or its time was up."""
        job, error = active_job.job, active_job.error
        if error is not None:
            return self._record(self._store.fail, job.id, job.attempt, error)
        return self._record(self._store.finish_cancelled, job.id, job.attempt)

    def _loaded_model(self, active_job: ActiveJob) -> Backend:
        model = active_job.job.served_by
        if self._models.is_loaded(model):
            return self._models.get(model)
        active_job.report(0.0, f"loading {model}", loading=True)
        backend = self._models.get(model)
        active_job.report(0.0, "")
        return backend

    def _delete(self, *keys: str) -> None:
        """Delete files; those that can't be deleted now are orphans, and are swept with the others."""
        with suppress(Unavailable):
            self._artifacts.delete_many(keys)

    def _claim(self, queue: str) -> Job | None:
        try:
            return self._until_stopped(self._store.claim, queue, self._awake_models())
        except _Stopped:
            return None

    def _begin_load(self, request: ModelRequest) -> LoadVerdict:
        try:
            return self._until_stopped(self._store.begin_load, request)
        except _Stopped:
            return LoadVerdict.WAIT

    def _awake_models(self) -> Mapping[str, ModelSpec]:
        return self._resting.awake(self._models.specs)

    def _sleep_until_stopped(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _describe(self) -> WorkerInfo:
        return WorkerInfo(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._models.device,
            version=self._version,
            models=tuple(sorted(self._awake_models())),
            started_at=self._started_at,
            health_findings=self._health.findings,
            resting=self._resting.reasons(self._models.specs.values()),
            video_encoder=self._codecs.preferred.name,
            loads=self._models.loads,
            carried_out=self._upkeep.carried_out,
        )


class _Stopped(Exception):
    """The worker received a stop signal while it waited for Valkey."""


def _retrying(stop: stop_base, sleep: Callable[[float], None]) -> Retrying:
    """Return what repeats calls while Valkey takes no writes, or Valkey or the storage can't be reached."""
    return Retrying(
        retry=retry_if_exception(_passes),
        wait=wait_fixed(RETRY_SECONDS),
        stop=stop,
        sleep=sleep,
        before_sleep=_log_outage,
        reraise=True,
    )


def _passes(error: BaseException) -> bool:
    return isinstance(error, Unavailable) or (isinstance(error, redis.RedisError) and is_transient(error))


def _log_outage(state: RetryCallState) -> None:
    error = state.outcome and state.outcome.exception()
    if isinstance(error, Unavailable):
        error = error.__cause__
    if isinstance(error, redis.RedisError) and is_refusal(error):
        log.warning("valkey_refuses", reason=str(error))
    else:
        log.warning("valkey_unreachable", error=type(error).__name__)


def _is_unexpected(error: Exception) -> bool:
    """Return whether an error says nothing about the job: it may be the model's, or this worker's."""
    return not isinstance(error, FramegateError | MemoryError)


def _reason(error: Exception) -> JobError:
    """Return the error that the job's owner sees; the traceback goes to the log alone."""
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
