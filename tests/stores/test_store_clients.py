"""Eight clients at once do whatever comes to their minds: limits hold at every moment, every job has one end.

For longer: ``FAULT_STEPS=2000 FAULT_SEEDS=20 python -m pytest tests/stores/test_store_clients.py``.
"""

import asyncio
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
import redis
from sample_jobs import make_job

from framegate.adapters.stores.connections import connect, connect_async
from framegate.adapters.stores.embedded import EmbeddedValkey
from framegate.adapters.stores.jobs import ValkeyJobStore
from framegate.adapters.stores.leases import WorkerLeases
from framegate.adapters.stores.records import PREFIX
from framegate.core.errors import KeyLimitReached, QueueFull
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import Limits, Once

CLIENTS = 8
STEPS, SEEDS = (int(os.environ.get(f"FAULT_{name}", most)) for name, most in (("STEPS", 60), ("SEEDS", 8)))
OWNERS = ("alice", "bob")
MOST = {"key:alice": 3, "key:bob": 2, "model:wan22": 2}
LIMITS = Limits(max_queued=12, owner_max_queued=8, owner_max_active=9)
ACTIONS = (
    *("submit", "submit", "submit", "repeat", "claim", "claim", "beat", "succeed", "fail", "hand_back"),
    *("cancel", "delete", "die"),
)


class History:
    """What the clients were told, in whatever order."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.repeated: list[str] = []
        self.succeeded: Counter[str] = Counter()
        self.cancelled: set[str] = set()
        self.deleted: set[str] = set()


class StoreClient:
    """A process of its own, as far as the store can see: an API's connection and a worker's."""

    def __init__(self, number: int, url: str, history: History) -> None:
        self.number = number
        self.history = history
        self.runner = asyncio.Runner()
        self.store = ValkeyJobStore(connect_async(url))
        self.client = connect(url)
        self.leases = WorkerLeases(self.client, f"w{number}")
        self.held: Job | None = None
        self.made = 0

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.client.close()

    def work(self, steps: list[str]) -> None:
        for step in steps:
            action: Callable[[], object] = getattr(self, step)
            action()

    def submit(self, once: Once | None = None) -> str:
        self.made += 1
        owner = OWNERS[(self.number + self.made) % 2]
        groups = (f"key:{owner}", "model:wan22")[: 1 + self.made % 2]
        limits = {group: MOST[group] for group in groups}
        if once:
            owner, limits = "alice", {"key:alice": MOST["key:alice"]}
        job = make_job(f"j{self.number}-{self.made}", owner=owner, running_limits=limits)
        try:
            made = self.runner.run(self.store.submit(job, limits=LIMITS, once=once))
        except (QueueFull, KeyLimitReached):
            return ""
        if made.id == job.id:
            self.history.submitted.append(job.id)
        return made.id

    def repeat(self) -> None:
        if name := self.submit(Once(key="the same for all")):
            self.history.repeated.append(name)

    def claim(self) -> None:
        self.held = self.leases.claim("q-test")

    def beat(self) -> None:
        if self.held:
            self.leases.beat(self.held.id, self.held.attempt, 0.5)

    def succeed(self) -> None:
        if self.held and self.leases.succeed(self.held, ()) == JobState.SUCCEEDED:
            self.history.succeeded[self.held.id] += 1
        self.held = None

    def fail(self) -> None:
        if self.held:
            self.leases.fail(self.held, JobError("generation_failed", "no"))
        self.held = None

    def hand_back(self) -> None:
        if self.held:
            self.leases.hand_back(self.held)
        self.held = None

    def cancel(self) -> None:
        if name := self._somebodys():
            job = self.runner.run(self.store.cancel(name))
            if job and not (job.state.finished and job.state != JobState.CANCELLED):
                self.history.cancelled.add(name)

    def delete(self) -> None:
        if (name := self._somebodys()) and self.runner.run(self.store.delete(name)):
            self.history.deleted.add(name)

    def die(self) -> None:
        """Silent for longer than a lease; whoever sweeps next gives the job to others."""
        if self.held:
            self.client.zadd(f"{PREFIX}leases", {self.held.id: 0}, xx=True)
            self.leases.sweep()

    def _somebodys(self) -> str | None:
        known = self.history.submitted
        return known[self.made * 7919 % len(known)] if known else None


class Watcher:
    """Looks at all limits in one step, again and again."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.broken: list[str] = []
        self.looks = 0

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._client.close()

    def _watch(self) -> None:
        bounds = {f"running:{group}": most for group, most in MOST.items()}
        waiting = {f"queuedby:{owner}": LIMITS.owner_max_queued for owner in OWNERS}
        while not self._done.is_set():
            pipeline = self._client.pipeline(transaction=True)
            for name in (*bounds, *waiting):
                pipeline.scard(PREFIX + name)
            counts = dict(zip((*bounds, *waiting), cast("list[int]", pipeline.execute()), strict=True))
            self.looks += 1
            self.broken += [f"{name}: {counts[name]}" for name, most in bounds.items() if counts[name] > most]


def states(client: redis.Redis) -> dict[str, str]:
    names = cast("list[str]", client.keys(f"{PREFIX}job:*"))
    return {
        name.removeprefix(f"{PREFIX}job:"): str(client.hget(name, "state"))
        for name in names
        if not client.hexists(name, "deleted")
    }


@pytest.mark.parametrize("seed", range(SEEDS))
def test_limits_hold_and_every_job_has_one_end(
    valkey: EmbeddedValkey, client: redis.Redis, seed: int
) -> None:
    draw = random.Random(seed)
    history = History()
    clients = [StoreClient(number, valkey.url, history) for number in range(CLIENTS)]
    programs = [draw.choices(ACTIONS, k=STEPS) for _ in clients]
    try:
        with Watcher(valkey.url) as watcher, ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(StoreClient.work, clients, programs))
        assert watcher.looks
        assert not watcher.broken
        run_to_the_end(clients, client)
    finally:
        for each in clients:
            each.close()
    ends = states(client)
    assert set(ends) == set(history.submitted) - history.deleted
    assert set(ends.values()) <= {"succeeded", "failed", "cancelled"}
    assert all(count == 1 for count in history.succeeded.values())
    for name, state in ends.items():
        assert (state == "succeeded") == (history.succeeded[name] == 1)
        if name in history.cancelled:
            assert state == "cancelled", "an acknowledged cancel is never overtaken"
    if not history.deleted:
        assert len(set(history.repeated)) <= 1
    for left in ("leases", "queued:q-test", "levels:q-test", "state:queued", "state:running"):
        assert client.zcard(PREFIX + left) == 0, left
    for pattern in ("lane*", "turns:*", "running:*", "queuedby:*", "holds:*"):
        assert client.keys(PREFIX + pattern) == [], pattern


def run_to_the_end(clients: list[StoreClient], client: redis.Redis) -> None:
    for each in clients:
        each.succeed()
    running = cast("list[str]", client.zrange(f"{PREFIX}leases", 0, -1))
    if running:  # their workers died
        client.zadd(f"{PREFIX}leases", dict.fromkeys(running, 0))
        clients[0].leases.sweep()
    while True:
        clients[0].claim()
        if clients[0].held is None:
            return
        clients[0].succeed()
