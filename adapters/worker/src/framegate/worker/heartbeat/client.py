"""The worker's side of its heartbeat process: report what runs, and learn what becomes of it."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

import msgspec
import redis
import structlog
from msgspec.structs import replace

from framegate.core.jobs import Job, JobError
from framegate.core.ports import ModelRequest, WorkerInfo
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.child import HeartbeatChild, HeartbeatLauncher
from framegate.worker.heartbeat.messages import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    HeartbeatReply,
    HeartbeatStart,
)

UNANSWERED_HEARTBEATS = 2
"""How many in a row a heartbeat process may leave without an answer before it is replaced. That is soon
enough for the next one to renew the lease."""
START_HEARTBEATS = 30
"""The same for one that has yet to start."""
STOP_SECONDS = 2.0
"""How long a heartbeat process may take to end."""
log = structlog.get_logger(__name__)


class ActiveJob:
    """The job that a worker is running and its progress, shared between its thread and the heartbeat.

    ``notify`` sends a heartbeat to the heartbeat process. It never waits for Valkey, so the model doesn't
    either.
    """

    def __init__(self, job: Job, notify: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self.heartbeat = Heartbeat(
            job.id,
            job.attempt,
            since=time.monotonic(),
            timeout=job.timeout,
            timeout_setting=job.timeout_setting,
        )
        self.error: JobError | None = None
        """Why the job has failed, if the heartbeat process has ended it for its worker."""
        self._notify = notify
        self._lock = threading.Lock()
        self._status = LeaseStatus.OK

    @property
    def status(self) -> LeaseStatus:
        """Whether the job is still this worker's to run."""
        return self._status

    @property
    def seconds(self) -> float:
        """For how long the job has been running, or its model loading."""
        return time.monotonic() - self.heartbeat.since

    def report(self, progress: float, message: str, *, loading: bool = False) -> None:
        """Report the job's progress (0.0–1.0), with a short phrase for people.

        With ``loading`` its model is being loaded, until the next report.
        """
        before = self.heartbeat
        since = before.since if loading == before.loading else time.monotonic()
        self.heartbeat = replace(before, loading=loading, since=since, progress=progress, message=message)
        self._notify()

    def update_status(self, status: LeaseStatus, error: JobError | None = None) -> None:
        """Update the status of the job's lease; any status other than OK is final."""
        with self._lock:
            if self._status == LeaseStatus.OK:
                self._status, self.error = status, error


class HeartbeatClient:
    """Keep a heartbeat process running, and send it a heartbeat every `HEARTBEAT_SECONDS`.

    A heartbeat is also sent as soon as a job starts, ends or reports progress. Nothing waits for the process
    to take it: one that stands still is killed and replaced. ``grace`` is how many seconds a running job may
    continue after the worker has received a stop signal; ``load_timeout`` and ``job_timeout`` are those after
    which a model that loads or a job that runs is given up, 0 for never; ``cancel_grace`` those that the
    backend has to leave a cancelled job. ``launcher`` launches the processes. ``on_model_requests`` receives
    what operators want to be done with models.
    """

    def __init__(
        self,
        launcher: HeartbeatLauncher,
        queue_url: str,
        prefix: str,
        store: WorkerStore,
        describe: Callable[[], WorkerInfo],
        *,
        on_model_requests: Callable[[Sequence[ModelRequest]], None] = lambda _: None,
        grace: float,
        load_timeout: float,
        job_timeout: float,
        cancel_grace: float,
    ) -> None:
        self._launcher = launcher
        self._queue_url = queue_url
        self._prefix = prefix
        # Settings have a type of their own for durations, which JSON lacks.
        self._grace, self._load_timeout = float(grace), float(load_timeout)
        self._job_timeout, self._cancel_grace = float(job_timeout), float(cancel_grace)
        self._describe = describe
        self._announced = describe()
        self._store = store
        self._on_model_requests = on_model_requests
        self._active_job: ActiveJob | None = None
        self._without_job = Heartbeat()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: HeartbeatChild | None = None
        self._started = threading.Event()
        self._unanswered = 0
        self._threads = [
            threading.Thread(target=self._send_regularly, name="heartbeats", daemon=True),
            threading.Thread(target=self._run_children, name="heartbeat-replies", daemon=True),
        ]

    def start(self) -> None:
        """Start the heartbeat process, which announces the worker."""
        for thread in self._threads:
            thread.start()
        self._started.wait(START_HEARTBEATS * HEARTBEAT_SECONDS)

    def stop(self) -> None:
        """End the heartbeat process and withdraw the worker."""
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.end()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        with self._lock:
            if self._child is not None:
                self._child.kill()
        with suppress(redis.RedisError):
            self._store.withdraw()

    @property
    def active_job(self) -> ActiveJob | None:
        """The job that was started and has not ended."""
        return self._active_job

    def start_job(self, job: Job) -> ActiveJob:
        """Keep the lease of a job that was just claimed, until `end_job` or the next job."""
        active_job = self._active_job = ActiveJob(job, self._send)
        self._send()
        return active_job

    def end_job(self) -> None:
        """Stop keeping the lease of the active job, if there is one."""
        if self._active_job is not None:
            self._active_job = None
            self._send()

    @contextmanager
    def loading_model(self) -> Generator[None]:
        """Let the heartbeats say that a model is loaded without a job, which has a time limit too."""
        self._without_job = Heartbeat(loading=True, since=time.monotonic())
        self.announce()
        try:
            yield
        finally:
            self._without_job = Heartbeat()
            self.announce()

    @property
    def is_loading_model(self) -> bool:
        """Whether a model is being loaded without a job."""
        return self._without_job.loading

    def announce(self) -> None:
        """Send a heartbeat at once, as something about the worker has changed."""
        self._send()

    def _send_regularly(self) -> None:
        while not self._stopping.wait(HEARTBEAT_SECONDS):
            self._send(regular=True)
            with self._lock:
                self._unanswered += 1
                patience = UNANSWERED_HEARTBEATS if self._started.is_set() else START_HEARTBEATS
                if self._child is not None and self._unanswered > patience:
                    log.error("heartbeat_process_stalled", pid=self._child.pid)
                    self._child.kill()

    def _send(self, *, regular: bool = False) -> None:
        active_job = self._active_job
        heartbeat = active_job.heartbeat if active_job else self._without_job
        worker = self._describe()
        with self._lock:
            if self._child is None:
                return
            changed = worker if worker != self._announced else None
            if regular or changed:
                heartbeat = replace(heartbeat, regular=regular, worker=changed)
            if self._child.send(heartbeat):
                self._announced = worker

    def _run_children(self) -> None:
        """Start a heartbeat process, read what it answers, and start another one when it has ended."""
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                self._unanswered = 0
                child = self._child = self._launcher.launch()
                child.begin(self._start_line())
            self._send()
            for line in child.lines():
                self._unanswered = 0
                self._started.set()
                if line.strip():
                    self._take(msgspec.json.decode(line, type=HeartbeatReply))
            with self._lock:
                code = child.wait()
            if self._stopping.is_set():
                return
            log.error("heartbeat_process_ended", exit_code=code)
            if not self._started.is_set():  # it ended at once: pause before another is started
                self._stopping.wait(1)
            self._started.clear()

    def _take(self, reply: HeartbeatReply) -> None:
        if reply.model_requests is not None:
            self._on_model_requests(reply.model_requests)
            return
        active_job = self._active_job
        if active_job and (active_job.job.id, active_job.job.attempt) == (reply.job, reply.attempt):
            active_job.update_status(reply.status, reply.error)

    def _start_line(self) -> HeartbeatStart:
        return HeartbeatStart(
            self._queue_url,
            self._prefix,
            self._announced,
            self._grace,
            self._launcher.signal_socket,
            load_timeout=self._load_timeout,
            job_timeout=self._job_timeout,
            cancel_grace=self._cancel_grace,
            parent=self._launcher.parent,
        )
