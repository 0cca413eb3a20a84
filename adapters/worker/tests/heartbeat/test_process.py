"""What a heartbeat process tells Valkey, and when."""

import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import cast

import msgspec
import pytest
import redis

from framegate.core.ports import Limits, WorkerInfo
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.worker.heartbeat.child import HeartbeatChild
from framegate.worker.heartbeat.messages import Heartbeat, HeartbeatReply, HeartbeatStart
from framegate.worker.heartbeat.stop_signals import forward_signals
from tests.support.running import eventually
from tests.support.sample_jobs import make_job
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]

WORKER = WorkerInfo("w", "here", os.getpid(), "cpu", "0", ("test",), 0.0)


class Child:
    """A heartbeat process of the worker ``w``; ``lines`` are those that it wrote."""

    def __init__(self, url: str) -> None:
        signals = forward_signals()
        self._child = HeartbeatChild([signals])
        self._child.begin(HeartbeatStart(url, PREFIX, WORKER, 0.0, signals))
        self.lines: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._child.lines():
            self.lines.put(line)

    def send(self, heartbeat: Heartbeat) -> None:
        assert eventually(lambda: self._child.send(heartbeat), what="room in the pipe")

    def reply(self) -> HeartbeatReply:
        """Return the next status of a lease."""
        while not (line := self.lines.get(timeout=60)).strip():
            pass
        return msgspec.json.decode(line, type=HeartbeatReply)

    def end(self) -> None:
        self._child.end()
        self._child.wait()


@pytest.fixture
def child(valkey: EmbeddedValkey, client: redis.Redis) -> Iterator[Child]:
    made = Child(valkey.url)
    eventually(lambda: client.exists(f"{PREFIX}worker:w"), what="the announcement")
    eventually(lambda: client.scard(f"{PREFIX}listening"), what="the subscription")
    yield made
    made.end()


def calls(client: redis.Redis) -> int:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return stats["cmdstat_evalsha"]["calls"]


def test_jobs_that_end_at_once_cost_no_calls(client: redis.Redis, child: Child) -> None:
    before = calls(client)
    for number in range(50):
        child.send(Heartbeat(f"job-{number}", 1, since=float(number)))
        child.send(Heartbeat())
    child.send(Heartbeat("last", 1, since=1.0, progress=0.5))
    assert child.reply() == HeartbeatReply("last", 1, LeaseStatus.LOST)
    assert calls(client) - before < 10


async def test_a_job_that_lasts_is_announced(
    valkey: EmbeddedValkey, client: redis.Redis, child: Child
) -> None:
    child.send(Heartbeat("a", 1, since=1.0))

    def announced() -> bool:
        text = cast("str | None", client.get(f"{PREFIX}worker:w"))
        return text is not None and msgspec.json.decode(text, type=WorkerInfo).job == "a"

    eventually(announced, what="the job in the announcement")
    child.send(Heartbeat(regular=True))
    eventually(lambda: not announced(), what="its end")


async def test_a_cancel_that_comes_before_the_job_is_known_counts(
    valkey: EmbeddedValkey, client: redis.Redis, child: Child
) -> None:
    """It is published once, maybe before the worker's message that the job has started has come through."""
    store = ValkeyJobStore(connect_async(valkey.url))
    await store.submit(make_job("a"), limits=Limits())
    job = WorkerStore(client, "w").claim("q-test", ["test"])
    assert job is not None
    await store.cancel("a")
    child.send(Heartbeat("a", 1, since=1.0))
    assert child.reply() == HeartbeatReply("a", 1, LeaseStatus.CANCEL)
    await store.close()


def test_only_regular_heartbeats_are_answered(child: Child) -> None:
    while not child.lines.empty():
        child.lines.get()
    for _ in range(10):
        child.send(Heartbeat())
    child.send(Heartbeat(regular=True))
    assert child.lines.get(timeout=60) == b"\n"
    assert child.lines.empty()


async def test_requests_for_models_reach_the_worker(
    valkey: EmbeddedValkey, client: redis.Redis, child: Child
) -> None:
    store = ValkeyJobStore(connect_async(valkey.url))
    await store.operations.request_model("test", load=True)
    await store.close()
    requests = child.reply().model_requests
    assert requests is not None
    assert [(request.model, request.number, request.load) for request in requests] == [("test", 1, True)]
