"""The store in Valkey does exactly what `framegate.core.jobs` says, for any order of calls."""

import asyncio
from typing import Any, cast

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sample_jobs import make_job

from framegate.adapters.stores.connections import connect_async
from framegate.adapters.stores.embedded import EmbeddedValkey
from framegate.adapters.stores.jobs import ValkeyJobStore
from framegate.adapters.stores.leases import Verdict, WorkerLeases
from framegate.adapters.stores.records import PREFIX, decode_job
from framegate.core import jobs
from framegate.core.errors import JobExists, KeyLimitReached, QueueFull
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import Limits

OWNERS = ("alice", "bob")
WORKERS = ("w1", "w2", "w3")
MAX_RUNNING = 2
LIMITS = Limits(max_queued=6, owner_max_queued=4, owner_max_active=5)


class StoreMachine(RuleBasedStateMachine):
    """Holds the store against a plain dictionary of jobs and the pure transitions."""

    client: redis.Redis
    store: ValkeyJobStore
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.held: dict[str, Job] = {}  # what each worker believes to run, as it claimed it
        self.forgotten: list[Job] = []
        self.leases = {name: WorkerLeases(self.client, name) for name in WORKERS}

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        for owner in ("alice", "alice", "alice", "bob"):
            self.submit(owner, again=False)

    def waiting(self, owner: str | None = None) -> list[Job]:
        return [
            job
            for job in self.jobs.values()
            if job.state == JobState.QUEUED and (owner is None or job.owner == owner)
        ]

    def running(self, owner: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == JobState.RUNNING and job.owner == owner]

    def active(self, owner: str) -> int:
        return len(self.waiting(owner)) + len(self.running(owner))

    @rule(owner=st.sampled_from(OWNERS), again=st.booleans())
    def submit(self, owner: str, again: bool) -> None:
        known = next(iter(self.jobs), None)
        name = known if again and known else f"job-{len(self.jobs) + len(self.forgotten)}"
        job = make_job(name, owner=owner, max_running=MAX_RUNNING)
        expected: type[Exception] | None = None
        if name in self.jobs:
            expected = JobExists
        elif len(self.waiting()) >= LIMITS.max_queued:
            expected = QueueFull
        elif (
            len(self.waiting(owner)) >= LIMITS.owner_max_queued
            or self.active(owner) >= LIMITS.owner_max_active
        ):
            expected = KeyLimitReached
        submitting = self.store.submit(job, limits=LIMITS)
        if expected is None:
            self.runner.run(submitting)
            self.jobs[name] = job
        else:
            with pytest.raises(expected):
                self.runner.run(submitting)

    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker: str) -> None:
        got = self.leases[worker].claim("q-test")
        held = self.held.get(worker)
        if held and self.is_current(worker):
            assert got is not None, "a worker that asks again gets the job that it has"
            assert (got.id, got.attempt) == (held.id, held.attempt)
            return
        # First come, first served, past those whose key is at its limit.
        allowed = [job for job in self.waiting() if len(self.running(job.owner)) < MAX_RUNNING]
        if not allowed:
            assert got is None
            return
        assert got is not None
        assert got.id == allowed[0].id
        self.jobs[got.id] = jobs.claim(self.jobs[got.id], worker, got.started_at or 0.0)
        self.held[worker] = self.jobs[got.id]

    def is_current(self, worker: str) -> bool:
        held = self.held.get(worker)
        if held is None:
            return False
        now = self.jobs[held.id]
        return now.state == JobState.RUNNING and now.worker == worker and now.attempt == held.attempt

    @rule(worker=st.sampled_from(WORKERS), progress=st.floats(0, 1))
    def beat(self, worker: str, progress: float) -> None:
        held = self.held.get(worker)
        if held is None:
            return
        verdict = self.leases[worker].beat(held, progress, "drawing")
        if not self.is_current(worker):
            assert verdict == Verdict.LOST
            return
        job = self.jobs[held.id]
        assert verdict == (Verdict.CANCEL if job.cancel_requested else Verdict.OK)
        self.jobs[held.id] = jobs.advance(job, held.attempt, round(progress, 6), "drawing")

    @rule(worker=st.sampled_from(WORKERS), end=st.sampled_from(["succeed", "fail", "leave", "hand_back"]))
    def close(self, worker: str, end: str) -> None:
        held = self.held.get(worker)
        if held is None:
            return
        current = self.is_current(worker)
        if end == "leave" and current and not self.jobs[held.id].cancel_requested:
            return  # a worker leaves only what it was told to leave
        leases, error = self.leases[worker], JobError("generation_failed", "no")
        closing: dict[str, Any] = {
            "succeed": lambda: leases.succeed(held, ()),
            "fail": lambda: leases.fail(held, error),
            "leave": lambda: leases.leave(held),
            "hand_back": lambda: leases.hand_back(held),
        }
        state = closing[end]()
        if not current:
            known = self.jobs[held.id]
            same_attempt = known.worker == worker and known.attempt == held.attempt
            assert state == (known.state if same_attempt and known.state.finished else None)
            return
        job, now = self.jobs[held.id], 0.0
        match end:
            case "succeed":
                after = jobs.succeed(job, held.attempt, (), now)
            case "fail":
                after = jobs.fail(job, held.attempt, error, now)
            case "leave":
                after = jobs.leave(job, held.attempt, now)
            case _:
                after = jobs.hand_back(job, held.attempt, now)
        assert state == after.state
        if after.state.finished:
            assert closing[end]() == state, "said twice because the first answer was lost"
        self.jobs[held.id] = after

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.jobs:
            return
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.runner.run(self.store.cancel(name))
        assert job is not None
        self.jobs[name] = jobs.request_cancel(self.jobs[name], 0.0)
        assert job.state == self.jobs[name].state

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """The worker falls silent for longer than its lease, and somebody sweeps."""
        held = self.held.get(worker)
        if held is None or not self.is_current(worker):
            return
        self.client.zadd(f"{PREFIX}leases", {held.id: 0})
        lost, _ = self.leases[worker].sweep()
        assert lost == 1
        self.jobs[held.id] = jobs.expire(self.jobs[held.id], 0.0)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Retention removes the record of a job that has ended."""
        ended = sorted(job.id for job in self.jobs.values() if job.state.finished)
        if not ended:
            return
        job = self.jobs[data.draw(st.sampled_from(ended))]
        held_by = [worker for worker, held in self.held.items() if held.id == job.id]
        self.runner.run(self.store.forget(job))
        self.forgotten.append(job)
        del self.jobs[job.id]
        for worker in held_by:
            assert self.leases[worker].beat(self.held.pop(worker)) == Verdict.LOST

    @invariant()
    def shares_agree(self) -> None:
        for job in self.jobs.values():
            assert self.client.get(f"{PREFIX}share:{job.share_id}") == job.id
        for job in self.forgotten:
            assert self.client.get(f"{PREFIX}share:{job.share_id}") is None

    @invariant()
    def records_agree(self) -> None:
        for name, expected in self.jobs.items():
            found = decode_job(cast("dict[str, str]", self.client.hgetall(f"{PREFIX}job:{name}")))
            for field in ("state", "attempt", "worker", "cancel_requested", "error", "artifacts", "message"):
                assert getattr(found, field) == getattr(expected, field), (name, field)
            assert found.progress == pytest.approx(expected.progress, abs=1e-5)
            assert (found.finished_at is not None) == expected.state.finished

    @invariant()
    def indexes_agree(self) -> None:
        for state in JobState:
            members = set(self.client.zrange(f"{PREFIX}state:{state}", 0, -1))
            assert members == {job.id for job in self.jobs.values() if job.state == state}
        for owner in OWNERS:
            assert self.client.smembers(f"{PREFIX}queuedby:{owner}") == {j.id for j in self.waiting(owner)}
            assert self.client.smembers(f"{PREFIX}running:{owner}") == {j.id for j in self.running(owner)}
            assert len(self.running(owner)) <= MAX_RUNNING
        queued = self.client.zrange(f"{PREFIX}queued:q-test", 0, -1)
        assert queued == [job.id for job in self.waiting()], "in the order of their submission"
        assert self.client.llen(f"{PREFIX}dq:q-test") >= len(queued), "a ticket for each that waits"


def test_store_follows_the_rules(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with asyncio.Runner() as runner:
        store = ValkeyJobStore(connect_async(valkey.url))
        StoreMachine.client, StoreMachine.store, StoreMachine.runner = client, store, runner
        try:
            run_state_machine_as_test(
                StoreMachine,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    deadline=None,
                ),
            )
        finally:
            runner.run(store.close())
