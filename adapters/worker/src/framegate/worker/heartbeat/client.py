"""The worker's side of its pacemaker: says what runs, hears what becomes of it."""

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
from framegate.storage.jobs.worker_store import Verdict, WorkerLeases
from framegate.worker.heartbeat.process import BEAT_SECONDS, Begin, Sign, Told
from framegate.worker.heartbeat.stop_signals import tell_signals

log = structlog.get_logger(__name__)


class Hold:
    """The job that a worker runs now, and how far it is; shared between its thread and the pulse.

    ``say`` gives a sign to the pacemaker. It never waits for Valkey, and so the model doesn't either.
    """

    def __init__(self, job: Job, say: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self.sign = Sign(job.id, job.attempt)
        self._say = say
        self._lock = threading.Lock()
        self._verdict = Verdict.OK

    @property
    def verdict(self) -> Verdict:
        return self._verdict

    def report(self, progress: float, message: str) -> None:
        """Tell how far the job is (0.0–1.0)."""
        self.sign = Sign(self.job.id, self.job.attempt, progress, message)
        self._say()

    def told(self, verdict: Verdict) -> None:
        """Take what a beat answered. Once told to stop, it stays so."""
        with self._lock:
            if self._verdict == Verdict.OK:
                self._verdict = verdict


class Pulse:
    """Keeps a pacemaker running, and gives it a sign every `BEAT_SECONDS`, at once when a job is taken or
    left. ``grace``: what a job gets to finish when the worker is told to stop."""

    def __init__(
        self, queue_url: str, leases: WorkerLeases, describe: Callable[[], WorkerInfo], *, grace: float
    ) -> None:
        self._queue_url = queue_url
        self._grace = float(grace)  # settings have a type of their own for it, which JSON has not
        self._describe = describe
        self._described = describe()
        self._leases = leases
        self._hold: Hold | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._signals = -1
        self._pacemaker: subprocess.Popen[bytes] | None = None
        self._threads = [
            threading.Thread(target=self._give_signs, name="signs", daemon=True),
            threading.Thread(target=self._listen, name="pulse", daemon=True),
        ]

    def start(self) -> None:
        """Returns once the pacemaker beats. Call it from the main thread."""
        self._signals = tell_signals()
        self._leases.announce(self._described)
        self._pacemaker = self._start_pacemaker()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            if self._pacemaker is not None:
                _end(self._pacemaker)
        for thread in self._threads:
            thread.join(5)
        with suppress(redis.RedisError):
            self._leases.withdraw()

    @property
    def held(self) -> Hold | None:
        """The job that was taken and not left."""
        return self._hold

    def hold(self, job: Job) -> Hold:
        hold = self._hold = Hold(job, self._give_sign)
        self._give_sign()
        return hold

    def release(self) -> None:
        self._hold = None
        self._give_sign()

    def _give_signs(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            self._give_sign()

    def _give_sign(self) -> None:
        hold = self._hold
        sign = hold.sign if hold else Sign()
        with self._lock:
            if self._pacemaker is not None:
                worker = self._describe()
                if worker != self._described:
                    sign, self._described = replace(sign, worker=worker), worker
                _write(self._pacemaker, sign)

    def _listen(self) -> None:
        pacemaker = self._pacemaker
        while pacemaker is not None:
            assert pacemaker.stdout is not None
            for line in pacemaker.stdout:
                told = msgspec.json.decode(line, type=Told)
                hold = self._hold
                if hold is not None and (hold.job.id, hold.job.attempt) == (told.job, told.attempt):
                    hold.told(told.verdict)
            code = pacemaker.wait()
            if self._stopping.is_set():
                return
            log.error("pacemaker_ended", exit_code=code)
            pacemaker = self._start_pacemaker()
            with self._lock:
                self._pacemaker = pacemaker
                if self._stopping.is_set():
                    _end(pacemaker)
            self._give_sign()

    def _start_pacemaker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "framegate.worker.heartbeat.process"]
        pacemaker = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self._signals]
        )
        _write(pacemaker, Begin(self._queue_url, self._described, self._grace, self._signals))
        assert pacemaker.stdout is not None
        if not pacemaker.stdout.readline():  # it ended at once; no use trying without a pause
            self._stopping.wait(1)
        return pacemaker


def _write(pacemaker: "subprocess.Popen[bytes]", line: Begin | Sign) -> None:
    assert pacemaker.stdin is not None
    with suppress(BrokenPipeError):  # it has ended; who listens to it starts another
        pacemaker.stdin.write(msgspec.json.encode(line) + b"\n")
        pacemaker.stdin.flush()


def _end(pacemaker: "subprocess.Popen[bytes]") -> None:
    assert pacemaker.stdin is not None
    with suppress(BrokenPipeError):
        pacemaker.stdin.close()
