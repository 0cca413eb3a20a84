"""The heartbeat process: a small process beside each worker that keeps the lease of the worker's job.

A model's native code may hold the worker's GIL for longer than a lease lasts; nothing holds this process's.
It also announces the worker, receives cancellations, and sweeps: every worker looks after the jobs of dead
ones. When a worker can't end after a stop signal, this process requeues its job and kills it; when a model
doesn't finish loading or a job takes too long, it fails the job and kills the worker. Worker and
heartbeat process exchange lines of JSON over the latter's standard input and output; it ends with its worker.
"""

import os
import signal
import sys
import threading
import time
from typing import TextIO, cast

import msgspec
import redis
import structlog
from msgspec import Struct
from msgspec.structs import replace
from redis.client import PubSub

from framegate.cli.log import configure_logging
from framegate.core.errors import GenerationFailed
from framegate.core.jobs import JobError, JobState
from framegate.core.ports import WorkerInfo
from framegate.storage.connections import connect
from framegate.storage.jobs.records import CANCEL_CHANNEL
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.stop_signals import LAST_RESORT_SECONDS, wait_for_stop

HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
"""How soon progress is passed on."""
STALLED_SECONDS = 600.0
"""How long a worker may send no heartbeat before it counts as hung and is killed to free its job."""
REQUEUE_SECONDS = 1.0
"""How long a worker that has to end is spared while Valkey doesn't answer."""
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class HeartbeatStart(Struct, frozen=True):
    """The first line that a heartbeat process receives.

    ``grace`` is how many seconds a running job may continue after a stop signal to the worker, which
    ``signal_socket``, a file descriptor, reports. ``load_timeout`` and ``job_timeout`` are how many seconds a
    model may take to load, and a job to run; 0 for any number.
    """

    queue_url: str
    prefix: str
    worker: WorkerInfo
    grace: float
    signal_socket: int
    load_timeout: float = 0.0
    job_timeout: float = 0.0


class Heartbeat(Struct, frozen=True, omit_defaults=True):
    """A worker's sign of life, every `HEARTBEAT_SECONDS` and whenever something changes.

    It says which attempt at which job runs, and its progress (0.0–1.0); with ``loading`` its model is still
    being loaded. ``worker`` describes the worker itself if that has changed: models and health findings come
    and go.
    """

    job: str = ""
    attempt: int = 0
    loading: bool = False
    progress: float | None = None
    message: str = ""
    worker: WorkerInfo | None = None


class HeartbeatReply(Struct, frozen=True):
    """The status of an attempt's lease after it was renewed."""

    job: str
    attempt: int
    status: LeaseStatus


class HeartbeatProcess:
    """Renew leases in Valkey as a worker's heartbeats arrive, and reply on ``output``."""

    def __init__(self, start: HeartbeatStart, output: TextIO) -> None:
        self._worker = start.worker
        self._start = start
        self._client = connect(start.queue_url)
        self._store = WorkerStore(self._client, start.worker.id, prefix=start.prefix)
        self._output = output
        self._heartbeat = self._passed_on = Heartbeat()
        self._received_at = self._step_since = time.monotonic()

    def receive(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat of the worker; it is passed on by the thread in `run`."""
        self._worker = heartbeat.worker or self._worker
        if _step(heartbeat) != _step(self._heartbeat):
            self._step_since = time.monotonic()
        self._heartbeat, self._received_at = heartbeat, time.monotonic()

    def run(self) -> None:
        """Pass heartbeats on to Valkey until the worker has ended, which ends this process."""
        while True:
            try:
                with self._client.pubsub(  # type: ignore[no-untyped-call]  # untyped in redis-py
                    ignore_subscribe_messages=True
                ) as subscription:
                    subscription.subscribe(self._start.prefix + CANCEL_CHANNEL)
                    while True:
                        self._pass_on()
                        self._wait(subscription)
            except redis.RedisError as error:
                log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)
                self._check_worker()
                time.sleep(RETRY_SECONDS)

    def _pass_on(self) -> None:
        heartbeat = self._heartbeat
        if heartbeat.job:
            progress = None if heartbeat == self._passed_on else heartbeat.progress
            status = self._store.heartbeat(heartbeat.job, heartbeat.attempt, progress, heartbeat.message)
            self._reply(HeartbeatReply(heartbeat.job, heartbeat.attempt, status))
        self._passed_on = heartbeat
        self._store.announce(replace(self._worker, job=heartbeat.job))
        lost, _ = self._store.sweep()
        if lost:
            log.warning("expired_leases_reclaimed", count=lost)

    def _reply(self, reply: HeartbeatReply) -> None:
        self._output.write(msgspec.json.encode(reply).decode() + "\n")
        self._output.flush()

    def _wait(self, subscription: PubSub) -> None:
        """Wait until the next renewal is due, there is progress, or the active job is cancelled."""
        due = time.monotonic() + HEARTBEAT_SECONDS
        while (left := due - time.monotonic()) > 0:
            self._check_worker()
            message = cast("dict[str, str] | None", subscription.get_message(timeout=min(left, POLL_SECONDS)))
            heartbeat = self._heartbeat
            if message is not None and message["data"] == heartbeat.job:
                return
            if heartbeat != self._passed_on and heartbeat.job:
                return

    def _check_worker(self) -> None:
        """End with the worker, and kill it if it hangs or takes too long."""
        if os.getppid() != self._worker.pid:
            os._exit(0)  # a process that the worker forked may still hold the pipe open
        if time.monotonic() - self._received_at > STALLED_SECONDS:
            log.error("worker_stalled", worker=self._worker.id, job_id=self._heartbeat.job)
            os.kill(self._worker.pid, signal.SIGKILL)
        heartbeat, seconds = self._heartbeat, time.monotonic() - self._step_since
        limit = self._start.load_timeout if heartbeat.loading else self._start.job_timeout
        if heartbeat.job and 0 < limit < seconds:
            self._end_overdue_job(heartbeat, limit)

    def _end_overdue_job(self, heartbeat: Heartbeat, limit: float) -> None:
        """Fail a job that takes too long, and kill its worker: native code can't be interrupted.

        Another attempt would hardly be quicker, and only take the next worker.
        """
        step, setting = ("Loading the model", "load") if heartbeat.loading else ("The job", "job")
        log.error("job_timed_out", worker=self._worker.id, job_id=heartbeat.job, step=setting, limit=limit)
        message = (
            f"{step} took longer than {limit:g} s, so its worker was ended. The server's operator can raise "
            f"worker.{setting}_timeout."
        )
        try:
            self._store.fail(heartbeat.job, heartbeat.attempt, JobError(GenerationFailed.code, message))
        except redis.RedisError as error:
            log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)
        os.kill(self._worker.pid, signal.SIGKILL)

    def kill_late_worker(self, signal_socket: int) -> None:
        """Kill a worker that after a stop signal can neither leave its job nor requeue it."""
        if not wait_for_stop(signal_socket):
            return
        time.sleep(self._start.grace + LAST_RESORT_SECONDS)
        requeueing = threading.Thread(target=self._requeue, name="requeue", daemon=True)
        requeueing.start()
        requeueing.join(REQUEUE_SECONDS)
        self._check_worker()
        log.error("worker_shutdown_timed_out", worker=self._worker.id, job_id=self._heartbeat.job)
        os.kill(self._worker.pid, signal.SIGKILL)

    def _requeue(self) -> None:
        heartbeat = self._heartbeat
        try:
            if heartbeat.job and self._store.requeue(heartbeat.job, heartbeat.attempt) == JobState.QUEUED:
                log.warning("job_requeued", job_id=heartbeat.job, by="heartbeat process")
        except redis.RedisError as error:
            log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)


def _step(heartbeat: Heartbeat) -> tuple[str, int, bool]:
    return heartbeat.job, heartbeat.attempt, heartbeat.loading


def main() -> None:
    """Run a heartbeat process for the worker at the other end of standard input and output."""
    # Signals for the whole group (Ctrl-C) are the worker's; its lease is kept until it has ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    lines = sys.stdin
    start = msgspec.json.decode(lines.readline(), type=HeartbeatStart)
    process = HeartbeatProcess(start, sys.stdout)
    threading.Thread(
        target=process.kill_late_worker, args=(start.signal_socket,), name="stop", daemon=True
    ).start()

    def listen() -> None:
        for line in lines:
            process.receive(msgspec.json.decode(line, type=Heartbeat))
        os._exit(0)

    threading.Thread(target=listen, name="heartbeats", daemon=True).start()
    print(flush=True)  # noqa: T201  # an empty line: from here on the lease is kept
    process.run()


if __name__ == "__main__":
    main()
