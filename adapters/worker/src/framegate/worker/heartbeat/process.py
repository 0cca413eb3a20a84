"""The process: a small process beside each worker that keeps the lease of the job which the worker runs.

A model's native code may hold the worker's GIL for longer than a lease lasts; nothing holds this process's.
It also announces the worker, receives cancels, and sweeps: each one looks after the jobs of dead workers. A
worker that was told to stop and can't is ended by it, and its job requeued. The two exchange lines of JSON
over this process's standard input and output; it ends with its worker.
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
from framegate.core.jobs import JobState
from framegate.core.ports import WorkerInfo
from framegate.storage.connections import connect
from framegate.storage.jobs.records import CANCEL_CHANNEL
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.stop_signals import LAST_RESORT_SECONDS, wait_for_stop

BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.1
"""How soon progress is passed on."""
STALLED_SECONDS = 600.0
"""How long a worker may give no sign before it counts as hung and is killed, so that its job can go on."""
HAND_BACK_SECONDS = 1.0
"""How long a worker that has to end is spared while Valkey doesn't answer."""

log = structlog.get_logger(__name__)


class HeartbeatStart(Struct, frozen=True):
    """The first line that a process is told. ``grace`` is what a job gets to finish when the worker is told
    to stop, which is heard at the file descriptor ``signals``."""

    queue_url: str
    worker: WorkerInfo
    grace: float
    signals: int


class Heartbeat(Struct, frozen=True, omit_defaults=True):
    """The worker's sign of life, every `BEAT_SECONDS` and whenever something changes: what it runs, and how
    far that is. ``worker`` is the worker itself where that has changed: models and problems come and go."""

    job: str = ""
    attempt: int = 0
    progress: float | None = None
    message: str = ""
    worker: WorkerInfo | None = None


class HeartbeatReply(Struct, frozen=True):
    """What a beat for an attempt at a job was answered."""

    job: str
    attempt: int
    status: LeaseStatus


class HeartbeatProcess:
    def __init__(self, begin: HeartbeatStart, out: TextIO) -> None:
        self._worker = begin.worker
        self._grace = begin.grace
        self._client = connect(begin.queue_url)
        self._leases = WorkerStore(self._client, begin.worker.id)
        self._out = out
        self._sign = self._beaten = Heartbeat()
        self._signed_at = time.monotonic()

    def take(self, sign: Heartbeat) -> None:
        self._worker = sign.worker or self._worker
        self._sign, self._signed_at = sign, time.monotonic()

    def run(self) -> None:
        while True:
            try:
                with self._client.pubsub(  # type: ignore[no-untyped-call]  # untyped in redis-py
                    ignore_subscribe_messages=True
                ) as subscription:
                    subscription.subscribe(CANCEL_CHANNEL)
                    while True:
                        self._beat()
                        self._wait(subscription)
            except redis.RedisError as error:
                log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)
                self._look_after_worker()
                time.sleep(0.5)

    def _beat(self) -> None:
        sign = self._sign
        if sign.job:
            progress = None if sign == self._beaten else sign.progress
            self._tell(sign, self._leases.heartbeat(sign.job, sign.attempt, progress, sign.message))
        self._beaten = sign
        self._leases.announce(replace(self._worker, job=sign.job))
        lost, _ = self._leases.sweep()
        if lost:
            log.warning("jobs_of_dead_workers_taken", count=lost)

    def _tell(self, sign: Heartbeat, status: LeaseStatus) -> None:
        told = HeartbeatReply(sign.job, sign.attempt, status)
        self._out.write(msgspec.json.encode(told).decode() + "\n")
        self._out.flush()

    def _wait(self, subscription: PubSub) -> None:
        """Until the next beat is due, or there is progress, or the job at hand is cancelled."""
        due = time.monotonic() + BEAT_SECONDS
        while (left := due - time.monotonic()) > 0:
            self._look_after_worker()
            message = cast("dict[str, str] | None", subscription.get_message(timeout=min(left, LOOK_SECONDS)))
            sign = self._sign
            if message is not None and message["data"] == sign.job:
                return
            if sign != self._beaten and sign.job:
                return

    def _look_after_worker(self) -> None:
        if os.getppid() != self._worker.pid:
            os._exit(0)  # a process that the worker forked may still hold the pipe open
        if time.monotonic() - self._signed_at > STALLED_SECONDS:
            log.error("worker_stalled", worker=self._worker.id, job_id=self._sign.job)
            os.kill(self._worker.pid, signal.SIGKILL)

    def end_late_worker(self, signals: int) -> None:
        """The last resort for a worker that can neither leave its job nor hand it back when told to stop."""
        if not wait_for_stop(signals):
            return
        time.sleep(self._grace + LAST_RESORT_SECONDS)
        handing_back = threading.Thread(target=self._hand_back, name="hand-back", daemon=True)
        handing_back.start()
        handing_back.join(HAND_BACK_SECONDS)
        self._look_after_worker()
        log.error("worker_late", worker=self._worker.id, job_id=self._sign.job)
        os.kill(self._worker.pid, signal.SIGKILL)

    def _hand_back(self) -> None:
        sign = self._sign
        try:
            if sign.job and self._leases.requeue(sign.job, sign.attempt) == JobState.QUEUED:
                log.warning("job_handed_back", job_id=sign.job, by="process")
        except redis.RedisError as error:
            log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)


def main() -> None:
    # Signals for the whole group (Ctrl-C) are the worker's; the process beats until the worker has ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    signs = sys.stdin
    begin = msgspec.json.decode(signs.readline(), type=HeartbeatStart)
    process = HeartbeatProcess(begin, sys.stdout)
    stop = threading.Thread(target=process.end_late_worker, args=(begin.signals,), name="stop", daemon=True)
    stop.start()

    def listen() -> None:
        for line in signs:
            process.take(msgspec.json.decode(line, type=Heartbeat))
        os._exit(0)

    threading.Thread(target=listen, name="signs", daemon=True).start()
    print(flush=True)  # noqa: T201  # an empty line: from here on it beats
    process.run()


if __name__ == "__main__":
    main()
