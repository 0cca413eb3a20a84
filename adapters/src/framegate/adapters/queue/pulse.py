"""The worker's pulse: keeps the running job's lease, hears of cancels, and tells that the worker lives."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import redis
import structlog
from redis.client import PubSub

from framegate.adapters.stores.leases import Verdict, WorkerLeases
from framegate.adapters.stores.records import CANCEL_CHANNEL
from framegate.core.jobs import Job
from framegate.core.ports import WorkerInfo

BEAT_SECONDS = 1.0
log = structlog.get_logger(__name__)


class Hold:
    """The job that a worker runs now; shared between its thread and the pulse."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._lock = threading.Lock()
        self._verdict = Verdict.OK

    @property
    def verdict(self) -> Verdict:
        return self._verdict

    def told(self, verdict: Verdict) -> None:
        """Take what a beat answered. Once told to stop, it stays so."""
        with self._lock:
            if self._verdict == Verdict.OK:
                self._verdict = verdict


class Pulse:
    """Beats every `BEAT_SECONDS`, and at once when a job is cancelled. Also sweeps: every worker looks after
    the jobs of dead ones."""

    def __init__(
        self, client: redis.Redis, leases: WorkerLeases, describe: Callable[[str], WorkerInfo]
    ) -> None:
        self._client = client
        self._leases = leases
        self._describe = describe
        self._hold: Hold | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._leases.announce(self._describe(""))
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)
        with suppress(redis.RedisError):
            self._leases.withdraw()

    def hold(self, job: Job) -> Hold:
        self._hold = Hold(job)
        return self._hold

    def release(self) -> None:
        self._hold = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._client.pubsub(  # type: ignore[no-untyped-call]  # untyped in redis-py
                    ignore_subscribe_messages=True
                ) as subscription:
                    subscription.subscribe(CANCEL_CHANNEL)
                    while not self._stopping.is_set():
                        self._beat()
                        self._wait(subscription)
            except redis.RedisError as error:
                log.warning("valkey_unreachable", error=type(error).__name__)
                self._stopping.wait(0.5)

    def _beat(self) -> None:
        hold = self._hold
        if hold is not None:
            hold.told(self._leases.beat(hold.job))
        self._leases.announce(self._describe(hold.job.id if hold else ""))
        lost, _ = self._leases.sweep()
        if lost:
            log.warning("jobs_of_dead_workers_taken", count=lost)

    def _wait(self, subscription: PubSub) -> None:
        """Until the next beat is due, or the job at hand is cancelled."""
        due = time.monotonic() + BEAT_SECONDS
        while (left := due - time.monotonic()) > 0 and not self._stopping.is_set():
            message = cast("dict[str, str] | None", subscription.get_message(timeout=min(left, 0.25)))
            hold = self._hold
            if message is not None and hold is not None and message["data"] == hold.job.id:
                return
