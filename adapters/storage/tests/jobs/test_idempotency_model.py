"""Which job answers a submission: both stores agree, for any order of calls."""

import asyncio
import os
import time
from collections.abc import Awaitable

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from framegate.core.errors import FramegateError
from framegate.core.jobs import Job
from framegate.core.ports import IdempotencyKey, JobStore, Limits
from framegate.core.testing import InMemoryJobStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from tests.support.sample_jobs import make_job

EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "60"))
LIMITS = Limits(max_queued=3)
# When the reading of a submission began: before or after all that the machine does.
BEFORE, AFTER = time.monotonic() - 1_000_000, time.monotonic() + 1_000_000


async def outcome(asking: Awaitable[Job | None]) -> str | None:
    """Return the id of the job or the error's code."""
    try:
        job = await asking
    except FramegateError as error:
        return error.code
    return job.id if job else None


class IdempotencyMachine(RuleBasedStateMachine):
    """Sends one request over and over, as an SDK does that counts its retries."""

    client: redis.Redis
    store: ValkeyJobStore
    runner: asyncio.Runner

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        self.model = InMemoryJobStore()
        self.names = 0

    @rule(
        retries=st.sampled_from([0, 0, 1, 1, 2]), since=st.sampled_from([AFTER, BEFORE]), checks=st.booleans()
    )
    def submit(self, retries: int, since: float, checks: bool) -> None:
        self.names += 1
        job = make_job(f"job-{self.names}", owner="alice")
        key = IdempotencyKey(key="k", repeat=retries > 0, retries=retries, since=since)

        async def submitted(store: JobStore) -> list[str | None]:
            found: list[str | None] = []
            if checks:
                found.append(
                    await outcome(store.check_admission(job.id, "alice", limits=LIMITS, idempotency=key))
                )
            return [*found, await outcome(store.submit(job, limits=LIMITS, idempotency=key))]

        assert self.runner.run(submitted(self.store)) == self.runner.run(submitted(self.model))

    @rule(retries=st.sampled_from([0, 1]))
    def refuse(self, retries: int) -> None:
        """A submission is refused elsewhere, and its refusal is counted twice."""
        key = IdempotencyKey(key="k", repeat=retries > 0, retries=retries)
        for store in (self.store, self.model, self.store, self.model):
            self.runner.run(store.count_refusal("alice", key))

    @rule(how_many=st.integers(1, 3))
    def cancel(self, how_many: int) -> None:
        """Make room in the queue."""
        for job in [job for job in self.model.jobs if not job.state.finished][:how_many]:
            for store in (self.store, self.model):
                self.runner.run(store.cancel(job.id))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.model.jobs:
            name = data.draw(st.sampled_from([job.id for job in self.model.jobs]))
            for store in (self.store, self.model):
                self.runner.run(store.delete(name))


def test_the_stores_agree(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with asyncio.Runner() as runner:
        store = ValkeyJobStore(connect_async(valkey.url))
        IdempotencyMachine.client, IdempotencyMachine.store = client, store
        IdempotencyMachine.runner = runner
        try:
            run_state_machine_as_test(
                IdempotencyMachine,
                settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None),
            )
        finally:
            runner.run(store.close())
