"""What clients of the store may do, and what it leads to by the reference model.

The model (`framegate.core.testing.transitions` and `framegate.core.testing.scheduling`) works on a plain
dictionary of jobs.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from framegate.core.errors import KeyLimitReached, QueueFull
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import IdempotencyKey, Limits
from framegate.core.testing import scheduling, transitions
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from tests.support.heartbeats import heartbeat
from tests.support.sample_jobs import make_job

OWNERS = ("alice", "bob")
MOST = {"key:alice": 3, "key:bob": 2, "model:wan22": 2}
LIMITS = Limits(max_queued=10, owner_max_queued=7, owner_max_active=8)
BROKEN = JobError("generation_failed", "no")

Answer: TypeAlias = object
Summary: TypeAlias = tuple[str, JobState, int, str, bool]
Seen: TypeAlias = tuple[list[Summary], dict[scheduling.SchedulingKey, int]]
"""The jobs in the order of their submission, and the claim at which each scheduling key was served last."""


def models_of(worker: str) -> tuple[str, ...]:
    """Return the models of a worker: most have all."""
    return ("test",) if worker == "w7" else ("test", "wan22")


class StoreClient:
    """A process of its own as far as the store can tell, with an API's connection and a worker's."""

    def __init__(self, number: int, url: str) -> None:
        self.worker = f"w{number}"
        self.runner = asyncio.Runner()
        self.store = ValkeyJobStore(connect_async(url))
        self.connection = connect(url)
        self.worker_store = WorkerStore(self.connection, self.worker)
        self.held: Job | None = None

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.connection.close()


def summary(job: Job) -> Summary:
    return job.id, job.state, job.attempt, job.worker, job.cancel_requested


@dataclass
class World:
    """What the store should hold. ``held`` is the job that each worker believes to run."""

    jobs: dict[str, Job] = field(default_factory=dict[str, Job])  # in the order of their submission
    deleted: frozenset[str] = frozenset()
    lapsed: frozenset[str] = frozenset()
    marks: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    served: dict[scheduling.SchedulingKey, int] = field(default_factory=dict[scheduling.SchedulingKey, int])
    held: dict[str, Job] = field(default_factory=dict[str, Job])

    def copy(self) -> "World":
        return World(
            dict(self.jobs), self.deleted, self.lapsed, dict(self.marks), dict(self.served), dict(self.held)
        )

    def in_state(self, state: JobState, owner: str = "") -> list[Job]:
        return [j for j in self.jobs.values() if j.state == state and owner in ("", j.owner)]

    def shown(self, name: str) -> Job | None:
        return None if name in self.deleted else self.jobs.get(name)

    def current(self, worker: str) -> Job | None:
        """Return the job that the worker runs, if it is still its job."""
        held = self.held.get(worker)
        if held is None:
            return None
        now = self.jobs[held.id]
        runs = (now.state, now.worker, now.attempt) == (JobState.RUNNING, worker, held.attempt)
        return now if runs else None

    def seen(self) -> Seen:
        return [summary(job) for job in self.jobs.values()], self.served

    def limits_hold(self) -> bool:
        running, waiting = self.in_state(JobState.RUNNING), self.in_state(JobState.QUEUED)
        groups = Counter(group for job in running for group in job.running_limits)
        owners = Counter(job.owner for job in (*running, *waiting))
        return all(groups[group] <= most for group, most in MOST.items()) and all(
            owners[owner] <= LIMITS.owner_max_active for owner in OWNERS
        )


class Step(ABC):
    """What a client does, and what it leads to by the rules."""

    @abstractmethod
    def take(self, client: StoreClient) -> Answer:
        """Take the step in the store, and return its answer."""

    @abstractmethod
    def predict(self, world: World, worker: str) -> Answer:
        """Take the step in ``world``, and return the answer that the store should give."""

    def agrees(self, expected: Answer, answer: Answer) -> bool:
        """Return whether an answer of the store is the expected one."""
        return expected == answer


@dataclass(frozen=True)
class Submit(Step):
    name: str
    owner: str
    priority: int
    on_wan22: bool
    key: str

    @cached_property
    def job(self) -> Job:
        groups = (f"key:{self.owner}", *(("model:wan22",) if self.on_wan22 else ()))
        limits = {group: MOST[group] for group in groups}
        model = "wan22" if self.on_wan22 else "test"
        return make_job(
            self.name, owner=self.owner, priority=self.priority, running_limits=limits, served_by=model
        )

    def take(self, client: StoreClient) -> Answer:
        idempotency = IdempotencyKey(key=self.key) if self.key else None
        try:
            return client.runner.run(client.store.submit(self.job, limits=LIMITS, idempotency=idempotency)).id
        except (QueueFull, KeyLimitReached) as refusal:
            return type(refusal)

    def predict(self, world: World, worker: str) -> Answer:
        earlier = world.marks.get((self.owner, self.key)) if self.key else None
        if earlier and world.shown(earlier):
            return earlier
        waiting, running = (
            world.in_state(state, self.owner) for state in (JobState.QUEUED, JobState.RUNNING)
        )
        if len(world.in_state(JobState.QUEUED)) >= LIMITS.max_queued:
            return QueueFull
        if len(waiting) >= LIMITS.owner_max_queued or len(waiting + running) >= LIMITS.owner_max_active:
            return KeyLimitReached
        world.jobs[self.name] = self.job
        if self.key:
            world.marks[self.owner, self.key] = self.name
        return self.name


@dataclass(frozen=True)
class Claim(Step):
    def take(self, client: StoreClient) -> Answer:
        client.held = client.worker_store.claim("q-test", models_of(client.worker))
        return client.held and (client.held.id, client.held.attempt)

    def predict(self, world: World, worker: str) -> Answer:
        job = world.current(worker)
        if job is None:
            waiting, running = (world.in_state(state) for state in (JobState.QUEUED, JobState.RUNNING))
            following = scheduling.next_job(waiting, running, world.served, "q-test", models_of(worker))
            if following is None:
                world.held.pop(worker, None)
                return None
            world.served[scheduling.scheduling_key(following)] = max(world.served.values(), default=0) + 1
            job = world.jobs[following.id] = transitions.claim(following, worker, 0.0)
        world.held[worker] = job
        world.lapsed -= {job.id}
        return job.id, job.attempt


@dataclass(frozen=True)
class Heartbeat(Step):
    def take(self, client: StoreClient) -> Answer:
        return client.held and heartbeat(client.worker_store, client.held.id, client.held.attempt, 0.5)

    def predict(self, world: World, worker: str) -> Answer:
        if worker not in world.held:
            return None
        job = world.current(worker)
        if job is None:
            return LeaseStatus.LOST
        world.lapsed -= {job.id}
        return LeaseStatus.CANCEL if job.cancel_requested else LeaseStatus.OK


@dataclass(frozen=True)
class Close(Step):
    how: Literal["succeed", "fail", "requeue"]

    def take(self, client: StoreClient) -> Answer:
        held, client.held = client.held, None
        match held, self.how:
            case None, _:
                return None
            case _, "succeed":
                return client.worker_store.succeed(held, ())
            case _, "fail":
                return client.worker_store.fail(held.id, held.attempt, BROKEN)
            case _:
                return client.worker_store.requeue(held.id, held.attempt)

    def predict(self, world: World, worker: str) -> Answer:
        job, held = world.current(worker), world.held.pop(worker, None)
        if held is None:
            return None
        if job is None:
            known = world.jobs[held.id]
            own = (known.worker, known.attempt) == (worker, held.attempt)
            return known.state if own and known.state.finished else None
        match self.how:
            case "succeed":
                after = transitions.succeed(job, job.attempt, (), 0.0)
            case "fail":
                after = transitions.fail(job, job.attempt, BROKEN, 0.0)
            case _:
                after = transitions.requeue(job, job.attempt, 0.0)
        world.jobs[job.id] = after
        world.lapsed -= {job.id}
        return after.state


@dataclass(frozen=True)
class Cancel(Step):
    name: str

    def take(self, client: StoreClient) -> Answer:
        job = client.runner.run(client.store.cancel(self.name))
        assert job is None or job.state != JobState.QUEUED
        return job is not None

    def predict(self, world: World, worker: str) -> Answer:
        job = world.shown(self.name)
        if job is None:
            return False
        world.jobs[self.name] = transitions.request_cancel(job, 0.0)
        return True

    def agrees(self, expected: Answer, answer: Answer) -> bool:
        return bool(expected) or not answer  # what was cancelled may be deleted before it is read


@dataclass(frozen=True)
class Delete(Step):
    name: str

    def take(self, client: StoreClient) -> Answer:
        before = client.runner.run(client.store.delete(self.name))
        return before and before.state

    def predict(self, world: World, worker: str) -> Answer:
        job = world.shown(self.name)
        if job is None:
            return None
        world.deleted |= {self.name}
        world.jobs[self.name] = transitions.request_cancel(job, 0.0)
        return job.state


@dataclass(frozen=True)
class Read(Step):
    name: str

    def take(self, client: StoreClient) -> Answer:
        job = client.runner.run(client.store.get(self.name))
        return job and summary(job)

    def predict(self, world: World, worker: str) -> Answer:
        job = world.shown(self.name)
        return job and summary(job)


@dataclass(frozen=True)
class Sweep(Step):
    def take(self, client: StoreClient) -> Answer:
        return client.worker_store.sweep()[0]

    def predict(self, world: World, worker: str) -> Answer:
        for name in world.lapsed:
            world.jobs[name] = transitions.expire(world.jobs[name], 0.0)
        found, world.lapsed = len(world.lapsed), frozenset()
        return found
