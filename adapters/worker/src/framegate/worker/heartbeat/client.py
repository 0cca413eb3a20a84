"""The worker's side of its heartbeat process: report what runs, and learn what becomes of it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec
import redis
import structlog
from msgspec.structs import replace

from framegate.core.jobs import Job
from framegate.core.ports import WorkerInfo
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.process import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    HeartbeatReply,
    HeartbeatStart,
)
from framegate.worker.heartbeat.stop_signals import forward_signals

log = structlog.get_logger(__name__)


class ActiveJob:
    """The job that a worker is running and its progress, shared between its thread and the heartbeat.

    ``notify`` sends a heartbeat to the heartbeat process. It never waits for Valkey, so the model doesn't
    either.
    """

    def __init__(self, job: Job, notify: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self.heartbeat = Heartbeat(job.id, job.attempt)
        self._notify = notify
        self._lock = threading.Lock()
        self._status = LeaseStatus.OK

    @property
    def status(self) -> LeaseStatus:
        """Whether the job is still this worker's to run."""
        return self._status

    def report(self, progress: float, message: str, *, loading: bool = False) -> None:
        """Report the job's progress (0.0–1.0), with a short phrase for people.

        With ``loading`` its model is being loaded, until the next report.
        """
        self.heartbeat = Heartbeat(self.job.id, self.job.attempt, loading, progress, message)
        self._notify()

    def update_status(self, status: LeaseStatus) -> None:
        """Update the status of the job's lease; any status other than OK is final."""
        with self._lock:
            if self._status == LeaseStatus.OK:
                self._status = status


class HeartbeatClient:
    """Keep a heartbeat process running, and send it a heartbeat every `HEARTBEAT_SECONDS`.

    A heartbeat is also sent as soon as a job starts, ends or reports progress. ``grace`` is how many seconds
    a running job may continue after the worker has received a stop signal; ``load_timeout`` and
    ``job_timeout`` are those after which a model that loads or a job that runs is given up, 0 for never.
    """

    def __init__(
        self,
        queue_url: str,
        prefix: str,
        store: WorkerStore,
        describe: Callable[[], WorkerInfo],
        *,
        grace: float,
        load_timeout: float,
        job_timeout: float,
    ) -> None:
        self._queue_url = queue_url
        self._prefix = prefix
        # Settings have a type of their own for durations, which JSON lacks.
        self._grace, self._load_timeout, self._job_timeout = map(float, (grace, load_timeout, job_timeout))
        self._describe = describe
        self._announced = describe()
        self._store = store
        self._active_job: ActiveJob | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._signal_socket = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._threads = [
            threading.Thread(target=self._send_regularly, name="heartbeats", daemon=True),
            threading.Thread(target=self._receive, name="heartbeat-replies", daemon=True),
        ]

    def start(self) -> None:
        """Announce the worker, and return once the heartbeat process runs. Call it from the main thread."""
        self._signal_socket = forward_signals()
        self._store.announce(self._announced)
        self._process = self._start_process()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the heartbeat process and withdraw the worker."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                _close_input(self._process)
        for thread in self._threads:
            thread.join(5)
        with suppress(redis.RedisError):
            self._store.withdraw()

    @property
    def active_job(self) -> ActiveJob | None:
        """The job that was started and has not ended."""
        return self._active_job

    def start_job(self, job: Job) -> ActiveJob:
        """Keep the lease of a job that was just claimed, until `end_job`."""
        active_job = self._active_job = ActiveJob(job, self._send)
        self._send()
        return active_job

    def end_job(self) -> None:
        """Stop keeping the lease of the active job."""
        self._active_job = None
        self._send()

    def _send_regularly(self) -> None:
        while not self._stopping.wait(HEARTBEAT_SECONDS):
            self._send()

    def _send(self) -> None:
        active_job = self._active_job
        heartbeat = active_job.heartbeat if active_job else Heartbeat()
        with self._lock:
            if self._process is not None:
                worker = self._describe()
                if worker != self._announced:
                    heartbeat, self._announced = replace(heartbeat, worker=worker), worker
                _write(self._process, heartbeat)

    def _receive(self) -> None:
        process = self._process
        while process is not None:
            assert process.stdout is not None
            for line in process.stdout:
                reply = msgspec.json.decode(line, type=HeartbeatReply)
                active_job = self._active_job
                if active_job and (active_job.job.id, active_job.job.attempt) == (reply.job, reply.attempt):
                    active_job.update_status(reply.status)
            code = process.wait()
            if self._stopping.is_set():
                return
            log.error("heartbeat_process_ended", exit_code=code)
            process = self._start_process()
            with self._lock:
                self._process = process
                if self._stopping.is_set():
                    _close_input(process)
            self._send()

    def _start_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "framegate.worker.heartbeat.process"]
        process = subprocess.Popen(  # noqa: S603 # nosec B603 # this interpreter, a module of ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self._signal_socket]
        )
        start = HeartbeatStart(
            self._queue_url,
            self._prefix,
            self._announced,
            self._grace,
            self._signal_socket,
            load_timeout=self._load_timeout,
            job_timeout=self._job_timeout,
        )
        _write(process, start)
        assert process.stdout is not None
        if not process.stdout.readline():  # it ended at once: pause before another is started
            self._stopping.wait(1)
        return process


def _write(process: "subprocess.Popen[bytes]", line: HeartbeatStart | Heartbeat) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; the thread that reads its replies starts another
        process.stdin.write(msgspec.json.encode(line) + b"\n")
        process.stdin.flush()


def _close_input(process: "subprocess.Popen[bytes]") -> None:
    """End the heartbeat process, which reads until its input is closed."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
