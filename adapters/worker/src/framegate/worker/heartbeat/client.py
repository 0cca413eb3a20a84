"""The worker's side of its process: says what runs, hears what becomes of it."""

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
from framegate.worker.heartbeat.process import BEAT_SECONDS, Heartbeat, HeartbeatReply, HeartbeatStart
from framegate.worker.heartbeat.stop_signals import tell_signals

log = structlog.get_logger(__name__)


class ActiveJob:
    """The job that a worker runs now, and how far it is; shared between its thread and the heartbeat.

    ``say`` gives a sign to the process. It never waits for Valkey, and so the model doesn't either.
    """

    def __init__(self, job: Job, say: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self.sign = Heartbeat(job.id, job.attempt)
        self._say = say
        self._lock = threading.Lock()
        self._verdict = LeaseStatus.OK

    @property
    def status(self) -> LeaseStatus:
        return self._verdict

    def report(self, progress: float, message: str) -> None:
        """Tell how far the job is (0.0–1.0)."""
        self.sign = Heartbeat(self.job.id, self.job.attempt, progress, message)
        self._say()

    def told(self, status: LeaseStatus) -> None:
        """Take what a beat answered. Once told to stop, it stays so."""
        with self._lock:
            if self._verdict == LeaseStatus.OK:
                self._verdict = status


class HeartbeatClient:
    """Keeps a process running, and gives it a sign every `BEAT_SECONDS`, at once when a job is taken or
    left. ``grace``: what a job gets to finish when the worker is told to stop."""

    def __init__(
        self, queue_url: str, leases: WorkerStore, describe: Callable[[], WorkerInfo], *, grace: float
    ) -> None:
        self._queue_url = queue_url
        self._grace = float(grace)  # settings have a type of their own for it, which JSON has not
        self._describe = describe
        self._described = describe()
        self._leases = leases
        self._active: ActiveJob | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._signals = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._threads = [
            threading.Thread(target=self._give_signs, name="signs", daemon=True),
            threading.Thread(target=self._listen, name="heartbeat", daemon=True),
        ]

    def start(self) -> None:
        """Returns once the process beats. Call it from the main thread."""
        self._signals = tell_signals()
        self._leases.announce(self._described)
        self._process = self._start_process()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                _end(self._process)
        for thread in self._threads:
            thread.join(5)
        with suppress(redis.RedisError):
            self._leases.withdraw()

    @property
    def held(self) -> ActiveJob | None:
        """The job that was taken and not left."""
        return self._active

    def active(self, job: Job) -> ActiveJob:
        active = self._active = ActiveJob(job, self._give_sign)
        self._give_sign()
        return active

    def release(self) -> None:
        self._active = None
        self._give_sign()

    def _give_signs(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            self._give_sign()

    def _give_sign(self) -> None:
        active = self._active
        sign = active.sign if active else Heartbeat()
        with self._lock:
            if self._process is not None:
                worker = self._describe()
                if worker != self._described:
                    sign, self._described = replace(sign, worker=worker), worker
                _write(self._process, sign)

    def _listen(self) -> None:
        process = self._process
        while process is not None:
            assert process.stdout is not None
            for line in process.stdout:
                told = msgspec.json.decode(line, type=HeartbeatReply)
                active = self._active
                if active is not None and (active.job.id, active.job.attempt) == (told.job, told.attempt):
                    active.told(told.status)
            code = process.wait()
            if self._stopping.is_set():
                return
            log.error("pacemaker_ended", exit_code=code)
            process = self._start_process()
            with self._lock:
                self._process = process
                if self._stopping.is_set():
                    _end(process)
            self._give_sign()

    def _start_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "framegate.worker.heartbeat.process"]
        process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self._signals]
        )
        _write(process, HeartbeatStart(self._queue_url, self._described, self._grace, self._signals))
        assert process.stdout is not None
        if not process.stdout.readline():  # it ended at once; no use trying without a pause
            self._stopping.wait(1)
        return process


def _write(process: "subprocess.Popen[bytes]", line: HeartbeatStart | Heartbeat) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; who listens to it starts another
        process.stdin.write(msgspec.json.encode(line) + b"\n")
        process.stdin.flush()


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
