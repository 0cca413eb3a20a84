"""The store in Valkey does exactly what the reference model does, for any order of calls."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, cast
from unittest import mock

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from framegate.core.errors import IdempotencyMismatch, JobExists, KeyLimitReached, QueueFull, QuotaReached
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import IdempotencyKey, JobFilter, Limits
from framegate.core.testing import scheduling, transitions
from framegate.core.testing.idempotency import SubmissionMemory
from framegate.core.testing.operations import InMemoryOperationStore
from framegate.core.testing.usage import UsageLedger
from framegate.core.types import Artifact, MediaKind
from framegate.core.usage import Usage
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs import lists
from framegate.storage.jobs.compact import ENOUGH, is_compact
from framegate.storage.jobs.records import PREFIX, decode_job
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.submissions import lane_of
from framegate.storage.jobs.worker_store import LeaseStatus, NextClaim, WorkerStore
from framegate.storage.schema import COMPACT, PLAIN
from tests.support.heartbeats import heartbeat
from tests.support.older_versions import as_older_version
from tests.support.sample_jobs import make_job

EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "60"))
OWNERS = ("alice", "bob")
MODELS = {"w1": ("test", "wan22"), "w2": ("wan22", "test", "other"), "w3": ("test",)}
WORKERS = tuple(MODELS)
MOST = {"key:alice": 2, "key:bob": 2, "model:wan22": 1}
LIMITS = Limits(
    max_queued=8, owner_max_queued=5, owner_max_active=6, owner_max_stored=400, owner_daily_gpu_seconds=1000
)
FILM = Artifact(MediaKind.VIDEO, "results/film.mp4", "video/mp4", 150, 64, 64)
FILMS = "films"
RAN_FOR = 300.0
"""For how many seconds each attempt seems to have run when it ends."""
# When the reading of a submission began: before or after all that the machine does.
BEFORE, AFTER = time.monotonic() - 1_000_000, time.monotonic() + 1_000_000


def counted(retries: int, since: float) -> IdempotencyKey:
    return IdempotencyKey(key="k3", repeat=retries > 0, retries=retries, since=since)


IDEMPOTENCY = (
    st.none()
    | st.builds(
        IdempotencyKey,
        key=st.sampled_from(["k1", "k2"]),
        fingerprint=st.sampled_from(["boat", "boat", "tree"]),
        repeat=st.booleans(),
        since=st.sampled_from([BEFORE, AFTER]),
    )
    | st.builds(
        counted,
        retries=st.sampled_from([0, 0, 1, 2]),
        since=st.sampled_from([BEFORE, AFTER]),
    )
)


class StoreMachine(RuleBasedStateMachine):
    """Compares the store with a plain dictionary of jobs and the transitions of the reference model."""

    client: redis.Redis
    store: ValkeyJobStore
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}  # in the order of their submission
        self.places: dict[str, tuple[int, str]] = {}  # in all that was ever submitted, and its owner
        self.deleted: dict[str, Job] = {}  # of those, the ones that their workers have not left yet
        self.submissions = SubmissionMemory(self.jobs.__contains__)
        self.served: dict[scheduling.SchedulingKey, int] = {}
        self.claims = 0
        self.names = 0
        self.submitted = 0
        self.vain_tickets = 0  # those taken since the last sweep by workers that got no job for them
        self.held: dict[str, Job] = {}  # what each worker believes to run, as it claimed it
        self.forgotten: list[Job] = []
        self.had_older_version = False
        self.removed: set[str] = set()  # whose files retention has removed
        self.usage = UsageLedger()
        self.workers = {name: WorkerStore(self.client, name, names=[f"{name}/cpu"]) for name in WORKERS}
        self.operations = InMemoryOperationStore()

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        for owner in ("alice", "alice", "alice", "bob"):
            self.submit(owner, again=False, priority=0, on_wan22=False, idempotency=None)

    def waiting(self, owner: str | None = None) -> list[Job]:
        return [
            job
            for job in self.jobs.values()
            if job.state == JobState.QUEUED and (owner is None or job.owner == owner)
        ]

    def running(self, owner: str | None = None) -> list[Job]:
        return [
            job
            for job in (*self.jobs.values(), *self.deleted.values())
            if job.state == JobState.RUNNING and (owner is None or job.owner == owner)
        ]

    def active(self, owner: str) -> int:
        return len(self.waiting(owner)) + len(self.running(owner))

    def known(self, name: str) -> Job:
        return self.deleted[name] if name in self.deleted else self.jobs[name]

    def change(self, job: Job) -> None:
        kept = self.deleted if job.id in self.deleted else self.jobs
        self.usage.count_end(kept[job.id], self.as_finished(job))
        kept[job.id] = job

    def as_finished(self, job: Job) -> Job:
        """Return the job with the times that Valkey has noted for it."""
        times = cast(
            "list[str | None]", self.client.hmget(f"{PREFIX}job:{job.id}", "started_at", "finished_at")
        )
        started, finished = (float(text) if text else None for text in times)
        # A deleted job counts as ended long ago, but is charged until its worker leaves it.
        return replace(job, started_at=started, finished_at=finished or time.time())

    def stored(self, owner: str) -> int:
        kept = (job for job in self.jobs.values() if job.owner == owner and job.id not in self.removed)
        return transitions.stored_bytes(kept)

    def expected(
        self, name: str, owner: str, idempotency: IdempotencyKey | None, input_bytes: int = 0
    ) -> str | type[Exception] | None:
        """Return the earlier job or the error that answers a submission; None if it makes a new job."""
        if name in self.jobs or name in self.deleted:
            return JobExists
        earlier = idempotency and self.submissions.find_earlier(owner, idempotency)
        if idempotency and earlier:
            same = earlier.made_by.fingerprint == idempotency.fingerprint
            return earlier.job_id if same else IdempotencyMismatch
        if len(self.waiting()) >= LIMITS.max_queued:
            refusal: type[Exception] | None = QueueFull
        elif (
            len(self.waiting(owner)) >= LIMITS.owner_max_queued
            or self.active(owner) >= LIMITS.owner_max_active
        ):
            refusal = KeyLimitReached
        else:
            stored = self.stored(owner)
            full = self.usage.today_of(owner).gpu_seconds >= LIMITS.owner_daily_gpu_seconds
            full = full or stored >= LIMITS.owner_max_stored or stored + input_bytes > LIMITS.owner_max_stored
            refusal = QuotaReached if full else None
        if refusal and idempotency:
            self.submissions.count_refusal(owner, idempotency)
        return refusal

    @rule(
        owner=st.sampled_from(OWNERS),
        again=st.booleans(),
        priority=st.sampled_from([0, 0, 5, -1]),
        on_wan22=st.booleans(),
        idempotency=IDEMPOTENCY,
        input_bytes=st.sampled_from([0, 0, 20, 100]),
        own_limit=st.sampled_from([2, 2, 1]),
        repeats_text=st.sampled_from([False, False, True]),
    )
    def submit(
        self,
        owner: str,
        again: bool,
        priority: int,
        on_wan22: bool,
        idempotency: IdempotencyKey | None,
        input_bytes: int = 0,
        own_limit: int = 2,
        repeats_text: bool = False,
    ) -> None:
        """Submit a job, plain or compact; the configuration, and so the limit of an owner, may change."""
        taken = next(iter((*self.deleted, *self.jobs)), None)
        if again and taken:
            name = taken
        else:
            name, self.names = f"job-{self.names}", self.names + 1
        groups = {f"key:{owner}": own_limit, **({"model:wan22": MOST["model:wan22"]} if on_wan22 else {})}
        job = make_job(
            name,
            owner=owner,
            priority=priority,
            running_limits=groups,
            served_by="wan22" if on_wan22 else "test",
            collection=FILMS,
            input_bytes=input_bytes,
        )
        if repeats_text:
            text = "x" * (ENOUGH + 1)
            request = replace(job.request, prompt=text)
            job = replace(job, request=request, shots=(replace(job.shots[0], prompt=text),))
        checking = self.store.check_admission(name, owner, limits=LIMITS, idempotency=idempotency)
        before = self.expected(name, owner, idempotency)
        admitted = self.compare(checking, before)
        assert before is not None or admitted is None
        submitting = self.store.submit(job, limits=LIMITS, idempotency=idempotency)
        expected = self.expected(name, owner, idempotency, input_bytes)
        made = self.compare(submitting, expected)
        if expected is not None:
            return
        self.submitted += 1
        self.usage.count_submission(job)
        assert made is not None
        assert made == replace(job, seq=self.submitted, created_at=made.created_at)
        assert made.created_at == pytest.approx(job.created_at, abs=60), "by Valkey's clock"
        self.jobs[name] = made
        self.places[name] = self.submitted, owner
        if idempotency is not None:
            self.submissions.remember_job(owner, idempotency, name)

    def compare(
        self, asking: Coroutine[Any, Any, Job | None], expected: str | type[Exception] | None
    ) -> Job | None:
        """Check what the store answers; without an earlier job or an error return the answer."""
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.runner.run(asking)
            return None
        answer = self.runner.run(asking)
        assert expected is None or (answer is not None and answer.id == expected)
        return answer

    @rule(owner=st.sampled_from(OWNERS), idempotency=IDEMPOTENCY)
    def refuse(self, owner: str, idempotency: IdempotencyKey | None) -> None:
        """A submission is refused elsewhere."""
        if idempotency is not None:
            self.runner.run(self.store.count_refusal(owner, idempotency))
            self.submissions.count_refusal(owner, idempotency)

    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker: str) -> None:
        ticket = self.client.lpop(f"{PREFIX}tickets:q-test")
        got = self.workers[worker].claim("q-test", MODELS[worker])
        held = self.held.get(worker)
        found = got is not None and (held is None or not self.is_current(worker))
        self.vain_tickets += ticket is not None and not found
        if held and self.is_current(worker):
            assert got is not None, "a worker that asks again gets the job that it has"
            assert (got.id, got.attempt) == (held.id, held.attempt)
            return
        self.check_claim(worker, got)

    def check_claim(self, worker: str, got: Job | None) -> None:
        """A worker without a job that has a ticket gets the job that the model says."""
        drained = self.operations.is_drained([worker, f"{worker}/cpu"])
        assert self.workers[worker].is_drained() == drained
        models = [model for model in MODELS[worker] if not self.operations.is_paused(model)]
        expected = scheduling.next_job(self.waiting(), self.running(), self.served, "q-test", models)
        if expected is None or drained:
            assert got is None
            return
        assert got is not None
        assert got.id == expected.id
        self.claims += 1
        self.served[scheduling.scheduling_key(expected)] = self.claims
        self.change(transitions.claim(expected, worker, got.started_at or 0.0))
        self.client.hset(f"{PREFIX}job:{got.id}", "started_at", str((got.started_at or 0.0) - RAN_FOR))
        self.held[worker] = self.known(got.id)

    def is_current(self, worker: str) -> bool:
        held = self.held.get(worker)
        if held is None:
            return False
        now = self.known(held.id)
        return now.state == JobState.RUNNING and now.worker == worker and now.attempt == held.attempt

    @rule(worker=st.sampled_from(WORKERS), progress=st.floats(0, 1))
    def heartbeat(self, worker: str, progress: float) -> None:
        held = self.held.get(worker)
        if held is None:
            return
        status = heartbeat(self.workers[worker], held.id, held.attempt, progress, "drawing")
        if not self.is_current(worker):
            assert status == LeaseStatus.LOST
            return
        job = self.known(held.id)
        assert status == (LeaseStatus.CANCEL if job.cancel_requested else LeaseStatus.OK)
        self.change(transitions.advance(job, held.attempt, round(progress, 6), "drawing"))

    @rule(
        worker=st.sampled_from(WORKERS),
        end=st.sampled_from(["succeed", "succeed and claim", "fail", "finish_cancelled", "requeue"]),
    )
    def close(self, worker: str, end: str) -> None:
        held = self.held.get(worker)
        if held is None:
            return
        current = self.is_current(worker)
        if end == "finish_cancelled" and current and not self.known(held.id).cancel_requested:
            return  # a worker leaves only what it was told to leave
        worker_store, error = self.workers[worker], JobError("generation_failed", "no")
        then = NextClaim(["q-other", "q-test"], MODELS[worker])
        closing: dict[str, Any] = {
            "succeed": lambda: worker_store.succeed(held, (FILM,)),
            "succeed and claim": lambda: worker_store.succeed(held, (FILM,), then=then),
            "fail": lambda: worker_store.fail(held.id, held.attempt, error),
            "finish_cancelled": lambda: worker_store.finish_cancelled(held.id, held.attempt),
            "requeue": lambda: worker_store.requeue(held.id, held.attempt),
        }
        state = closing[end]()
        taken = (then.queue, then.job)
        if not current:
            known = self.known(held.id)
            same_attempt = known.worker == worker and known.attempt == held.attempt
            assert state == (known.state if same_attempt and known.state.finished else None)
            self.check_next(worker, end, state, taken)
            return
        job, now = self.known(held.id), 0.0
        match end:
            case "succeed" | "succeed and claim":
                after = transitions.succeed(job, held.attempt, (FILM,), now)
            case "fail":
                after = transitions.fail(job, held.attempt, error, now)
            case "finish_cancelled":
                after = transitions.finish_cancelled(job, held.attempt, now)
            case _:
                after = transitions.requeue(job, held.attempt, now)
        assert state == after.state
        if after.state.finished and (end != "succeed and claim" or taken[1]):
            assert closing[end]() == state, "repeated because the first reply was lost"
            assert then.job == taken[1], "the worker has the job that it was given before"
        self.change(after)
        self.check_next(worker, end, state, taken)

    def check_next(
        self, worker: str, end: str, state: JobState | None, taken: tuple[str, Job | None]
    ) -> None:
        """A worker whose job has succeeded has taken a ticket for the next one, if there was one."""
        if end != "succeed and claim":
            return
        if state != JobState.SUCCEEDED:
            assert taken == ("", None), "it first removes the files of the attempt"
            return
        queue, got = taken
        if queue:
            assert queue == "q-test"
            self.vain_tickets += got is None
            self.check_claim(worker, got)
            return
        assert got is None
        drained = self.operations.is_drained([worker, f"{worker}/cpu"])
        assert drained or not self.client.llen(f"{PREFIX}tickets:q-test")

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.jobs:
            return
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.runner.run(self.store.cancel(name))
        assert job is not None
        self.change(transitions.request_cancel(self.jobs[name], 0.0))
        assert job.state == self.jobs[name].state

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """The worker falls silent for longer than its lease, and somebody sweeps."""
        held = self.held.get(worker)
        if held is None or not self.is_current(worker):
            return
        self.sweep()  # as everybody does every second: nobody was away
        self.client.zadd(f"{PREFIX}leases", {held.id: 0})
        lost, _ = self.workers[worker].sweep()
        assert lost == 1
        self.change(transitions.expire(self.known(held.id), 0.0))

    @rule()
    def sweep(self) -> None:
        """Somebody sweeps while all workers live."""
        lost, _ = self.workers[WORKERS[0]].sweep()
        assert lost == 0
        self.vain_tickets = 0

    def leases(self) -> dict[str, float]:
        """When the leases end, by job."""
        found = self.client.zrange(f"{PREFIX}leases", 0, -1, withscores=True)
        return dict(cast("list[tuple[str, float]]", found))

    @rule(hours=st.integers(1, 1000))
    def put_clock_back(self, hours: int) -> None:
        """What Valkey wrote is from later than now; a lease still ends soon after its worker."""
        leases = self.leases()
        later = time.time() + 3600 * hours
        self.client.mset({f"{PREFIX}{key}": later for key in ("swept", "mended")})
        if leases:
            self.client.zadd(f"{PREFIX}leases", dict.fromkeys(leases, later))
        self.sweep()
        if leases:
            assert self.client.zrange(f"{PREFIX}leases", later - 1800, "+inf", byscore=True) == []

    @rule()
    def sweep_after_silence(self) -> None:
        """Nobody swept while Valkey was away: each worker has another lease to come back, and only one."""
        leases = self.leases()
        if not leases:
            return
        self.client.set(f"{PREFIX}swept", 0)
        self.client.zadd(f"{PREFIX}leases", dict.fromkeys(leases, 1.0))
        self.sweep()
        extended = self.leases()
        assert all(lease > 1.0 for lease in extended.values())
        self.client.set(f"{PREFIX}swept", 0)
        self.sweep()
        assert self.leases() == extended

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self.jobs:
            return
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        before = self.runner.run(self.store.delete(name))
        job = self.jobs.pop(name)
        self.removed.discard(name)  # whatever may be left is removed once more
        assert before is not None
        assert before.state == job.state
        self.deleted[name] = job
        if not job.state.finished:
            self.change(transitions.request_cancel(job, 0.0))
        for finding in (self.store.get(name), self.store.delete(name), self.store.cancel(name)):
            assert self.runner.run(finding) is None

    @rule(data=st.data(), by_client=st.booleans())
    def delete_record(self, data: st.DataObject, by_client: bool) -> None:
        """Retention or a client removes the record of a job that has ended."""
        ended = sorted(j.id for j in (*self.jobs.values(), *self.deleted.values()) if j.state.finished)
        if not ended:
            return
        job = self.known(data.draw(st.sampled_from(ended)))
        held_by = [worker for worker, held in self.held.items() if held.id == job.id]
        self.runner.run(self.store.delete_record(job))
        self.forgotten.append(job)
        (self.deleted if job.id in self.deleted else self.jobs).pop(job.id)
        for worker in held_by:
            held = self.held.pop(worker)
            assert heartbeat(self.workers[worker], held.id, held.attempt) == LeaseStatus.LOST

    @rule(data=st.data())
    def remove_files(self, data: st.DataObject) -> None:
        """Retention removes the files of a job that has ended, and keeps its record."""
        ended = sorted(job.id for job in self.jobs.values() if job.state.finished)
        if ended:
            job = self.known(data.draw(st.sampled_from(ended)))
            self.runner.run(self.store.expired.mark_files_removed([job]))
            self.removed.add(job.id)

    @rule(model=st.sampled_from(["test", "wan22"]), pauses=st.sampled_from([True, False, False]))
    def pause_model(self, model: str, pauses: bool) -> None:
        """An operator pauses or resumes a model; when nothing is paused, all that wait have tickets."""
        for store in (self.store.operations, self.operations):
            self.runner.run(store.pause_model(model) if pauses else store.resume_model(model))
        if not any(map(self.operations.is_paused, ("test", "wan22"))):
            self.vain_tickets = 0

    @rule(
        worker=st.sampled_from(WORKERS),
        suffix=st.sampled_from(["", "/cpu"]),
        drains=st.sampled_from([True, False]),
    )
    def drain_worker(self, worker: str, suffix: str, drains: bool) -> None:
        for store in (self.store.operations, self.operations):
            name = worker + suffix
            self.runner.run(store.drain_worker(name) if drains else store.resume_worker(name))

    @rule(owner=st.sampled_from(OWNERS))
    def doubt_sum(self, owner: str) -> None:
        """The sum of what an owner stores is an hour old."""
        self.client.expire(f"{PREFIX}stored:{owner}", 80000)

    @rule(owner=st.sampled_from(OWNERS))
    def forget_sum(self, owner: str) -> None:
        """The sum of what an owner stores expires."""
        self.client.delete(f"{PREFIX}stored:{owner}")

    @rule()
    def forget_too_early(self) -> None:
        """The record of a running job that was deleted is left to its worker."""
        for job in self.running():
            self.runner.run(self.store.delete_record(job))

    @rule(data=st.data(), newest_first=st.booleans(), limit=st.integers(1, 4))
    def page(self, data: st.DataObject, newest_first: bool, limit: int) -> None:
        owner = data.draw(st.sampled_from(OWNERS))
        mine = [job.id for job in self.jobs.values() if job.owner == owner]
        expected = mine[::-1] if newest_first else mine
        after = data.draw(st.sampled_from(["", *self.places]))
        page = self.runner.run(
            self.store.page(FILMS, owner=owner, after=after, limit=limit, newest_first=newest_first)
        )
        if after:
            place, whose = self.places[after]
            if whose != owner:
                assert page is None
                return
            places = {name: self.places[name][0] for name in mine}
            expected = [n for n in expected if (places[n] < place if newest_first else places[n] > place)]
        assert page is not None
        assert [job.id for job in page.jobs] == expected[:limit]
        assert page.has_more == (len(expected) > limit)

    @rule(
        changes=st.lists(st.sampled_from(["submit", "claim", "close", "cancel", "delete"]), max_size=3),
        data=st.data(),
    )
    def change_by_older_version(self, changes: list[str], data: st.DataObject) -> None:
        """Processes of 0.1 change jobs, but not the indexes that they don't know; then somebody sweeps."""
        for change in changes:
            with as_older_version(self.client):
                worker = data.draw(st.sampled_from(WORKERS))
                match change:
                    case "submit":
                        self.submit(
                            data.draw(st.sampled_from(OWNERS)),
                            again=data.draw(st.booleans()),
                            priority=data.draw(st.sampled_from([0, 5])),
                            on_wan22=data.draw(st.booleans()),
                            idempotency=None,
                        )
                    case "claim":
                        self.claim(worker)
                    case "close":
                        self.close(worker, data.draw(st.sampled_from(["succeed", "requeue"])))
                    case "cancel":
                        self.cancel(data)
                    case _:
                        self.delete(data)
            self.had_older_version = True
        self.sweep()

    @rule(data=st.data())
    def positions(self, data: st.DataObject) -> None:
        jobs = [self.jobs[name] for name in data.draw(st.permutations(sorted(self.jobs)))]
        found = self.runner.run(self.store.queue_positions(jobs))
        waiting = self.waiting()
        for job, position in zip(jobs, found, strict=True):
            waits = job.state == JobState.QUEUED
            assert position == (scheduling.position(job, waiting, self.served) if waits else None)

    @rule(
        owner=st.sampled_from([None, *OWNERS]),
        states=st.frozensets(st.sampled_from(JobState), max_size=3),
        model=st.sampled_from(["", "test", "wan22", "none"]),
        limit=st.integers(1, 4),
        most=st.integers(1, 9),
    )
    def scan(self, owner: str | None, states: frozenset[JobState], model: str, limit: int, most: int) -> None:
        """The parts of a list are all of it, in its order, however little is looked at for each."""
        which = JobFilter(owner, states, model)
        expected = [job for job in reversed(self.jobs.values()) if which.matches(job)]
        found: list[Job] = []
        before: int | None = None
        with (
            mock.patch.object(lists, "MOST_LOOKED_AT", most),
            mock.patch.object(lists, "LARGEST_STEP", most),
            mock.patch.object(lists, "FEW_ACTIVE", most),
        ):
            while True:
                part = self.runner.run(self.store.scan(which, before=before, limit=limit))
                assert len(part.jobs) <= limit
                found += part.jobs
                if (before := part.next) is None:
                    break
        assert [(job.id, job.state) for job in found] == [(job.id, job.state) for job in expected]

    @invariant()
    def shares_agree(self) -> None:
        for job in self.jobs.values():
            assert self.client.get(f"{PREFIX}share:{job.share_id}") == job.id
        for job in (*self.forgotten, *self.deleted.values()):
            assert self.client.get(f"{PREFIX}share:{job.share_id}") is None

    @invariant()
    def records_agree(self) -> None:
        for name, expected in {**self.jobs, **self.deleted}.items():
            found = decode_job(cast("dict[str, str]", self.client.hgetall(f"{PREFIX}job:{name}")))
            for field in (
                "seq",
                "created_at",
                "state",
                "attempt",
                "worker",
                "cancel_requested",
                "error",
                "artifacts",
                "message",
            ):
                assert getattr(found, field) == getattr(expected, field), (name, field)
            assert found.progress == pytest.approx(expected.progress, abs=1e-5)
            assert (found.finished_at is not None) == expected.state.finished

    @invariant()
    def indexes_agree(self) -> None:
        everything = (*self.jobs.values(), *self.deleted.values())
        for state in JobState:
            members = set(self.client.zrange(f"{PREFIX}state:{state}", 0, -1))
            assert members == {job.id for job in everything if job.state == state}
        for owner in OWNERS:
            assert self.client.smembers(f"{PREFIX}queuedby:{owner}") == {j.id for j in self.waiting(owner)}
        for group, most in MOST.items():
            running = {job.id for job in self.running() if group in job.running_limits}
            assert self.client.smembers(f"{PREFIX}running:{group}") == running
            assert len(running) <= most
        queued = self.client.zrange(f"{PREFIX}queued:q-test", 0, -1)
        assert queued == [job.id for job in self.waiting()], "in the order of their submission"
        tickets = self.client.llen(f"{PREFIX}tickets:q-test")
        paused = any(map(self.operations.is_paused, ("test", "wan22")))
        fewest = 0 if paused else len(queued) - self.vain_tickets
        assert fewest <= tickets <= len(queued), "a ticket for each that waits, and no other"
        listed = self.client.zrange(f"{PREFIX}jobs", 0, -1)
        assert listed == list(self.jobs)
        leased = self.client.zrange(f"{PREFIX}leases", 0, -1)
        assert set(leased) == {job.id for job in self.running()}
        ended = self.client.zrange(f"{PREFIX}finished", 0, -1)
        assert set(ended) == {j.id for j in everything if j.state.finished and j.id not in self.removed}
        recorded = self.client.zrange(f"{PREFIX}records", 0, -1)
        assert set(recorded) == self.removed & self.jobs.keys()

    @invariant()
    def stored_bytes_agree(self) -> None:
        for owner in OWNERS:
            found = self.client.get(f"{PREFIX}stored:{owner}")
            assert found is None or int(found) == self.stored(owner)
        for job in (*self.jobs.values(), *self.deleted.values()):
            kept = job.id in self.jobs and job.id not in self.removed
            expected = transitions.stored_bytes([job]) if kept else 0
            assert int(self.client.hget(f"{PREFIX}job:{job.id}", "stored") or 0) == expected

    @invariant()
    def usage_agrees(self) -> None:
        today = self.runner.run(self.store.usage.today())
        for owner in OWNERS:
            expected = self.usage.today_of(owner)
            found = Usage.sum(self.runner.run(self.store.usage.read([today], owner=owner)))
            assert found.gpu_seconds == pytest.approx(expected.gpu_seconds, abs=RAN_FOR / 10)
            for name in ("jobs", "succeeded", "failed", "cancelled", "input_bytes", "result_bytes"):
                assert getattr(found, name) == getattr(expected, name), (owner, name)

    @invariant()
    def counts_agree(self) -> None:
        """Waiting jobs are counted by owner and by priority."""
        waiting = self.waiting()
        assert self.client.hgetall(f"{PREFIX}waiting:q-test") == {job.id: lane_of(job) for job in waiting}
        counts: dict[str, Counter[str]] = {}
        for job in waiting:
            counts.setdefault("depths", Counter())[str(job.priority)] += 1
            counts.setdefault(f"waitingby:{job.priority}", Counter())[job.owner] += 1
        found = {**self.scores("waitingby:*"), **self.scores("depths:*")}
        assert {key.removesuffix(":q-test"): Counter(scores) for key, scores in found.items()} == counts

    def scores(self, pattern: str) -> dict[str, dict[str, float]]:
        """Return the sorted sets whose keys below the prefix are like ``pattern``."""
        return {
            key.removeprefix(PREFIX): dict(
                cast("list[tuple[str, float]]", self.client.zrange(key, 0, -1, withscores=True))
            )
            for key in cast("list[str]", self.client.keys(f"{PREFIX}{pattern}"))
        }

    @invariant()
    def places_agree(self) -> None:
        """Each lane in which jobs wait is in its bucket, or closed by its owner's own limit."""
        buckets: dict[str, dict[str, int]] = {}
        closed: Counter[str] = Counter()
        running = Counter(job.owner for job in self.running())
        for lane, job in {lane_of(job): job for job in self.waiting()}.items():
            owner = job.owner
            place = cast("str | None", self.client.hget(f"{PREFIX}places:{owner}", lane))
            full = running[owner] >= job.running_limits[f"key:{owner}"]
            # Lanes that an older version has closed are noticed by the next claim that would open them.
            assert (place == "") == full or (self.had_older_version and full)
            if place == "":
                closed[owner] += 1
                continue
            shared = [
                part for group in ("model:wan22",) if group in job.running_limits for part in (group, 1)
            ]
            assert place is not None
            assert json.loads(place) == [
                COMPACT if is_compact(job) else PLAIN,
                job.served_by,
                *shared,
            ]
            turn = self.served.get(scheduling.scheduling_key(job), 0)
            buckets.setdefault(f"{job.priority}:q-test:{place}", {})[f"{owner}\0{lane}"] = turn
        found = {key.removeprefix("bucket:"): lanes for key, lanes in self.scores("bucket:*").items()}
        if self.had_older_version:
            assert {name: set(lanes) for name, lanes in found.items()} == {
                name: set(lanes) for name, lanes in buckets.items()
            }
            assert all(
                found[name][lane] <= turn for name, lanes in buckets.items() for lane, turn in lanes.items()
            )
        else:
            assert found == buckets
        listed = {
            f"{level}:{name}"
            for level in {f"{job.priority}:q-test" for job in self.waiting()}
            for name in cast("set[str]", self.client.smembers(f"{PREFIX}buckets:{level}"))
        }
        assert listed == set(buckets)
        assert Counter(self.scores("closed").get("closed", {})) == closed
        for owner in OWNERS:
            lanes = {lane_of(job) for job in self.waiting(owner)}
            assert set(self.client.hkeys(f"{PREFIX}places:{owner}")) == lanes

    @invariant()
    def lanes_agree(self) -> None:
        """Nothing is left of a lane in which nobody waits."""
        waiting: dict[str, list[str]] = {}
        for job in self.waiting():
            waiting.setdefault(f"{PREFIX}lane:{lane_of(job)}", []).append(job.id)
        for lane, ids in waiting.items():
            assert self.client.zrange(lane, 0, -1) == ids
        for kind, count in (
            ("lane", len(waiting)),
            ("lanes", len({scheduling.scheduling_key(job) for job in self.waiting()})),
            ("turns", len({job.priority for job in self.waiting()})),
            ("levels", bool(waiting)),
        ):
            assert len(self.client.keys(f"{PREFIX}{kind}:*")) == count, kind


def test_store_follows_the_rules(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with asyncio.Runner() as runner:
        store = ValkeyJobStore(connect_async(valkey.url))
        StoreMachine.client, StoreMachine.store, StoreMachine.runner = client, store, runner
        try:
            run_state_machine_as_test(
                StoreMachine,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=40,
                    deadline=None,
                ),
            )
        finally:
            runner.run(store.close())
