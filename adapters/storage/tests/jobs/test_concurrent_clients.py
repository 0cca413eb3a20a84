"""Eight clients at once: all their answers fit one order of their steps, by the reference model of
`framegate.core.testing.transitions` and `framegate.core.testing.scheduling`, and limits active after each.

Each round gives every client one step, and lets all take theirs at the same moment. Each step is one script
in the store, so there must be an order of the eight in which a plain dictionary of jobs gives the same
answers and ends in the same state; that order is searched for.

For longer: ``FAULT_EXAMPLES=2000 python -m pytest adapters/storage/tests/jobs/test_concurrent_clients.py``.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier
from typing import ClassVar, cast

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from framegate.core.jobs import JobState
from framegate.core.testing import scheduling
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs import worker_store
from framegate.storage.jobs.records import PREFIX, decode_job
from tests.support.client_steps import (
    OWNERS,
    Answer,
    Cancel,
    Claim,
    Close,
    Delete,
    Heartbeat,
    Read,
    Seen,
    Step,
    StoreClient,
    Submit,
    Sweep,
    World,
    models_of,
    summary,
)

CLIENTS = 8
EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "40"))


@dataclass(frozen=True)
class TakenStep:
    """A step, its answer, and when it began and ended (ns)."""

    worker: str
    step: Step
    answer: Answer
    began: int
    ended: int


def orders(world: World, taken: Sequence[TakenStep]) -> Iterator[World]:
    """Yield the world after each order of the steps that explains their answers."""
    if not taken:
        yield world
    for each in taken:
        if any(other.ended < each.began for other in taken):
            continue  # what had ended before it began came first
        after = world.copy()
        if each.step.agrees(each.step.predict(after, each.worker), each.answer) and after.limits_hold():
            yield from orders(after, [other for other in taken if other is not each])


def job_name(number: int) -> str:
    return f"job-{number}"


NEW = st.builds(
    Submit,
    name=st.just(""),
    owner=st.sampled_from(OWNERS),
    priority=st.sampled_from([0, 0, 5]),
    on_wan22=st.booleans(),
    key=st.sampled_from(["", "", "k"]),
)
WORK = st.sampled_from(
    [Claim(), Claim(), Heartbeat(), Close("succeed"), Close("fail"), Close("requeue"), Sweep()]
)


class ClientsMachine(RuleBasedStateMachine):
    clients: ClassVar[list[StoreClient]]
    pool: ClassVar[ThreadPoolExecutor]

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.names = 0
        self.connection = self.clients[0].connection

    @initialize()
    def empty(self) -> None:
        self.connection.flushall()
        self.clients[0].worker_store.sweep()
        for client in self.clients:
            client.held = None

    @rule(data=st.data())
    def all_at_once(self, data: st.DataObject) -> None:
        # What is drawn may not depend on what came of the earlier rounds, or Hypothesis can't repeat them.
        known = st.integers(0, self.names).map(job_name)
        step = st.one_of(NEW, WORK, WORK, *(st.builds(kind, known) for kind in (Cancel, Delete, Read)))
        steps = [self.named(each) for each in data.draw(st.tuples(*[step] * CLIENTS))]
        barrier = Barrier(CLIENTS)

        def take(client: StoreClient, step: Step) -> TakenStep:
            barrier.wait()
            began = time.perf_counter_ns()
            answer = step.take(client)
            return TakenStep(client.worker, step, answer, began, time.perf_counter_ns())

        taken = sorted(self.pool.map(take, self.clients, steps), key=lambda each: each.ended)
        found = self.found()
        for after in orders(self.world, taken):
            if after.seen() == found:
                self.world = after
                return
        # Printed, as Hypothesis reports a failure only if it is repeatable.
        print(*self.world.seen(), "was the start, and no order of these", sep="\n")
        print(*(f"{each.worker} {each.step} → {each.answer}" for each in taken), sep="\n")
        print("explains their answers and this end", *found, sep="\n")
        raise AssertionError("The store did what no order of the steps explains.")

    @rule(workers=st.sets(st.integers(0, CLIENTS - 1), min_size=1))
    def some_fall_silent(self, workers: set[int]) -> None:
        """For longer than their leases; the next sweep finds them unless a heartbeat comes first."""
        current = [self.world.current(self.clients[number].worker) for number in workers]
        silent = {job.id for job in current if job}
        if silent:
            self.connection.zadd(f"{PREFIX}leases", dict.fromkeys(silent, 0), xx=True)
            self.world.lapsed |= silent

    def named(self, step: Step) -> Step:
        if not isinstance(step, Submit):
            return step
        self.names += 1
        return replace(step, name=job_name(self.names))

    def found(self) -> Seen:
        """Return what the store holds, in the form of `World.seen`."""
        records = sorted(self.hashes("job:*").values(), key=lambda fields: int(fields["seq"]))
        served: dict[scheduling.SchedulingKey, int] = {}
        for key, owners in self.hashes("served:*").items():
            _, priority, queue = key.split(":")
            served |= {(queue, int(priority), owner): int(turn) for owner, turn in owners.items()}
        return [summary(decode_job(fields)) for fields in records], served

    def hashes(self, pattern: str) -> dict[str, dict[str, str]]:
        keys = cast("list[str]", self.connection.keys(PREFIX + pattern))
        return {
            key.removeprefix(PREFIX): cast("dict[str, str]", self.connection.hgetall(key)) for key in keys
        }

    def teardown(self) -> None:
        """All jobs can be brought to their end, and then nothing is left of them but their records."""
        running = [job.id for job in self.world.in_state(JobState.RUNNING)]
        if running:
            self.connection.zadd(f"{PREFIX}leases", dict.fromkeys(running, 0))
            self.clients[0].worker_store.sweep()
        while job := self.clients[0].worker_store.claim("q-test", models_of("w0")):
            self.clients[0].worker_store.succeed(job, ())
        for left in ("leases", "queued:q-test", "levels:q-test", "state:queued", "state:running"):
            assert self.connection.zcard(PREFIX + left) == 0, left
        for pattern in ("lane*", "turns:*", "running:*", "queuedby:*", "holds:*"):
            assert self.connection.keys(PREFIX + pattern) == [], pattern


def test_eight_clients_at_once(
    valkey: EmbeddedValkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_store, "LEASE_SECONDS", 3600.0)  # only those lapse that the test chooses
    monkeypatch.setattr(worker_store, "SILENCE_SECONDS", 3600.0)  # and get no second lease
    ClientsMachine.clients = [StoreClient(number, valkey.url) for number in range(CLIENTS)]
    try:
        with ThreadPoolExecutor(CLIENTS) as ClientsMachine.pool:
            run_state_machine_as_test(
                ClientsMachine,
                settings=settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None),
            )
    finally:
        for each in ClientsMachine.clients:
            each.close()
