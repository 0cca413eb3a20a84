"""The heartbeat process: a small process beside each worker that keeps the lease of the worker's job.

A model's native code may hold the worker's GIL for longer than a lease lasts; nothing holds this process's.
It also announces the worker, receives cancellations and requests to load models, and sweeps when that is due:
the workers look after the jobs of dead ones. When a worker can't end after a stop signal, this process
requeues its job and kills it;
`framegate.worker.heartbeat.deadlines` does the same to one that doesn't leave a job in time. Worker and
heartbeat process exchange lines of JSON over the latter's standard input and output; it ends with its worker.
"""

import math
import os
import random
import signal
import sys
import threading
import time
from typing import TextIO

import msgspec
import redis
import structlog
from msgspec.structs import replace

from framegate.cli.log import configure_logging
from framegate.cli.parent import kill_process_group, wait_for_end
from framegate.core.jobs import JobState
from framegate.core.ports import WorkerInfo
from framegate.storage.connections import connect
from framegate.storage.jobs.records import MODELS_CALL
from framegate.storage.jobs.worker_store import (
    ANNOUNCE_SECONDS,
    SWEEP_SECONDS,
    LeaseStatus,
    RunningJob,
    WorkerStore,
)
from framegate.worker.heartbeat.deadlines import JobDeadlines
from framegate.worker.heartbeat.listener import ChannelListener
from framegate.worker.heartbeat.messages import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    HeartbeatReply,
    HeartbeatStart,
)
from framegate.worker.heartbeat.stop_signals import LAST_RESORT_SECONDS, wait_for_stop

IDLE_SECONDS = 3.0
"""How often a worker without a job calls Valkey, to see that it is announced and whether a sweep is due."""
SUBSCRIBE_SECONDS = 2.0
"""How long the first announcement waits for the subscription that shows that the worker lives."""
STALLED_SECONDS = 600.0
"""How long a worker may send no heartbeat before it counts as hung and is killed to free its job."""
REQUEUE_SECONDS = 1.0
"""How long a worker that has to end is spared while Valkey doesn't answer."""
RETRY_SECONDS = 0.5
SETTLE_SECONDS = 0.5
"""How soon a job's start or end is passed on. The claim has given it a lease, many have ended by then, and
each call would cost them a sync of Valkey's log."""

log = structlog.get_logger(__name__)


class HeartbeatProcess:
    """Renew leases in Valkey as a worker's heartbeats arrive, and reply on ``output``."""

    def __init__(self, start: HeartbeatStart, output: TextIO) -> None:
        self._worker = start.worker
        self._start = start
        self._client = connect(start.queue_url)
        self._store = WorkerStore(self._client, start.worker.id, prefix=start.prefix)
        self._output = output
        self._output_lock = threading.Lock()
        self._deadlines = JobDeadlines(start, self._store, self._reply)
        self._heartbeat = self._passed_on = Heartbeat()
        self._received_at = time.monotonic()
        self._announced: WorkerInfo | None = None
        self._announce_at = 0.0
        self._announce_again = threading.Event()
        self._due = threading.Condition()
        self._due_at = math.inf
        self._cancelled = ""
        self._model_requests_due = threading.Event()
        self._subscribed = threading.Event()
        self._listener = ChannelListener(
            connect(start.queue_url),
            self._store.channel,
            on_message=self._on_message,
            on_subscribed=self._on_subscribed,
        )

    def receive(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat of the worker; it is passed on by the thread in `run`.

        That is done at once if the job has progressed, was cancelled before it was known here, or the worker
        has changed; within `SETTLE_SECONDS` if a job has just started or ended.
        """
        worker, before = heartbeat.worker, self._heartbeat
        self._worker = worker or self._worker
        self._heartbeat = replace(heartbeat, worker=None, regular=False)
        self._received_at = time.monotonic()
        progressed = heartbeat.progress is not None and self._heartbeat != before
        if worker is not None or progressed or (heartbeat.job and heartbeat.job == self._cancelled):
            self._make_due()
        elif self._heartbeat != before:
            self._make_due(SETTLE_SECONDS)
        if heartbeat.regular:
            self._write("")

    def run(self) -> None:
        """Pass heartbeats on to Valkey until the worker has ended, which ends this process."""
        self._listener.start()
        self._subscribed.wait(SUBSCRIBE_SECONDS)
        while True:
            self._check_worker()
            self._deadlines.check(self._heartbeat)
            try:
                self._pass_on()
            except redis.RedisError as error:
                self._announce_again.set()
                log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)
                time.sleep(RETRY_SECONDS)
            else:
                self._wait_until_due(HEARTBEAT_SECONDS if self._heartbeat.job else _idle_seconds())

    def _make_due(self, seconds: float = 0.0) -> None:
        """Let `run` call Valkey in that many seconds, unless it does so sooner."""
        at = time.monotonic() + seconds
        with self._due:
            if at < self._due_at:
                self._due_at = at
                self._due.notify()

    def _wait_until_due(self, most: float) -> None:
        """Wait until Valkey is to be called, at most for that many seconds."""
        self._make_due(most)
        with self._due:
            while (left := self._due_at - time.monotonic()) > 0:
                self._due.wait(left)
            self._due_at = math.inf

    def _pass_on(self) -> None:
        heartbeat = self._heartbeat
        running: list[RunningJob] = []
        if heartbeat.job:
            progress = None if heartbeat == self._passed_on else heartbeat.progress
            running.append(RunningJob(heartbeat.job, heartbeat.attempt, progress, heartbeat.message))
        reply = self._store.heartbeat(
            running, info=self._announcement(heartbeat), listens=self._subscribed.is_set()
        )
        for status in reply.statuses:
            self._reply(self._deadlines.reply(heartbeat, status))
        self._passed_on = heartbeat
        if self._model_requests_due.is_set():
            self._model_requests_due.clear()
            try:
                requests = self._store.model_requests()
            except redis.RedisError:
                self._model_requests_due.set()
                raise
            if requests:
                self._reply(HeartbeatReply("", 0, LeaseStatus.OK, model_requests=requests))
        if not reply.announced:
            self._announce_again.set()
        if reply.sweep_due:
            lost, _ = self._store.sweep(interval=SWEEP_SECONDS)
            if lost:
                log.warning("expired_leases_reclaimed", count=lost)

    def _announcement(self, heartbeat: Heartbeat) -> WorkerInfo | None:
        """Return what is to be announced, None while Valkey knows it."""
        info, now = replace(self._worker, job=heartbeat.job), time.monotonic()
        if info == self._announced and now < self._announce_at and not self._announce_again.is_set():
            return None
        self._announce_again.clear()
        self._announced, self._announce_at = info, now + ANNOUNCE_SECONDS
        return info

    def _on_message(self, text: str) -> None:
        """Take what the worker's channel says: that models were requested, or the id of a cancelled job."""
        if text == MODELS_CALL:
            self._model_requests_due.set()
            self._make_due()
            return
        self._cancelled = text
        if text == self._heartbeat.job:
            self._make_due()

    def _on_subscribed(self) -> None:
        self._subscribed.set()
        self._announce_again.set()
        self._model_requests_due.set()
        self._make_due()

    def _reply(self, reply: HeartbeatReply) -> None:
        self._write(msgspec.json.encode(reply).decode())

    def _write(self, line: str) -> None:
        try:
            with self._output_lock:
                self._output.write(line + "\n")
                self._output.flush()
        except BrokenPipeError:
            os._exit(0)  # the worker has ended

    def _check_worker(self) -> None:
        """End with the worker, and kill it if it hangs."""
        if os.getppid() != self._worker.pid:
            os._exit(0)  # a process that the worker forked may still hold the pipe open
        if time.monotonic() - self._received_at > STALLED_SECONDS:
            log.error("worker_stalled", worker=self._worker.id, job_id=self._heartbeat.job)
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

    def end_with_parent(self, parent: int) -> None:
        """Kill the worker once the process that started it has ended; its job goes to the next one."""
        wait_for_end(parent)
        self._check_worker()
        log.error("worker_killed", reason="parent_ended", job_id=self._heartbeat.job, pid=self._worker.pid)
        kill_process_group(self._worker.pid)

    def _requeue(self) -> None:
        heartbeat = self._heartbeat
        try:
            if heartbeat.job and self._store.requeue(heartbeat.job, heartbeat.attempt) == JobState.QUEUED:
                log.warning("job_requeued", job_id=heartbeat.job, by="heartbeat process")
            self._store.end_load()
        except redis.RedisError as error:
            log.warning("valkey_unreachable", worker=self._worker.id, error=type(error).__name__)


def _idle_seconds() -> float:
    """Return when to call Valkey next; workers that found it back at the same moment spread again."""
    return random.uniform(0.8, 1.2) * IDLE_SECONDS  # noqa: S311 # nosec B311 # nothing secret


def main() -> None:
    """Run a heartbeat process for the worker at the other end of standard input and output."""
    # Signals for the whole group (Ctrl-C) are the worker's; its lease is kept until it has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    lines = sys.stdin
    if not (first := lines.readline()):
        return  # the worker can't start, and has ended
    start = msgspec.json.decode(first, type=HeartbeatStart)
    process = HeartbeatProcess(start, sys.stdout)
    threading.Thread(
        target=process.kill_late_worker, args=(start.signal_socket,), name="stop", daemon=True
    ).start()

    if start.parent >= 0:
        threading.Thread(
            target=process.end_with_parent, args=(start.parent,), name="parent", daemon=True
        ).start()

    def listen() -> None:
        for line in lines:
            process.receive(msgspec.json.decode(line, type=Heartbeat))
        os._exit(0)

    threading.Thread(target=listen, name="heartbeats", daemon=True).start()
    print(flush=True)  # noqa: T201  # an empty line, as `framegate.worker.heartbeat.messages` explains
    process.run()


if __name__ == "__main__":
    main()
