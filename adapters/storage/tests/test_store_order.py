"""Who is served next, which submissions are one, and what lists hold: the same from both stores."""

import asyncio
import random
from collections.abc import Awaitable, Iterator
from typing import Protocol, TypeVar

import pytest
import redis

from framegate.core.errors import IdempotencyMismatch, JobExists, KeyLimitReached, QueueFull
from framegate.core.jobs import Job, JobState
from framegate.core.ports import IdempotencyKey, JobStore, Limits
from framegate.core.testing import InMemoryJobStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job

Result = TypeVar("Result")


class Stand(Protocol):
    """A store, and what a worker may do to its jobs."""

    store: JobStore

    def run(self, use: Awaitable[Result]) -> Result: ...

    def claim(self, worker: str) -> Job | None: ...

    def succeed(self, job: Job) -> JobState | None: ...


class InMemory:
    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._memory = InMemoryJobStore()
        self.store: JobStore = self._memory

    def run(self, use: Awaitable[Result]) -> Result:
        return self._runner.run(_awaited(use))

    def claim(self, worker: str) -> Job | None:
        return self._memory.claim_next(worker)

    def succeed(self, job: Job) -> JobState | None:
        return self._memory.succeed(job.id).state


class InValkey:
    def __init__(self, runner: asyncio.Runner, store: ValkeyJobStore, client: redis.Redis) -> None:
        self._runner = runner
        self._client = client
        self.store: JobStore = store

    def run(self, use: Awaitable[Result]) -> Result:
        return self._runner.run(_awaited(use))

    def claim(self, worker: str) -> Job | None:
        return WorkerStore(self._client, worker).claim("q-test", ["test"])

    def succeed(self, job: Job) -> JobState | None:
        return WorkerStore(self._client, job.worker).succeed(job, ())


async def _awaited(use: Awaitable[Result]) -> Result:
    return await use


@pytest.fixture(params=["memory", "valkey"])
def stand(request: pytest.FixtureRequest, valkey: EmbeddedValkey, client: redis.Redis) -> Iterator[Stand]:
    with asyncio.Runner() as runner:
        if request.param == "memory":
            yield InMemory(runner)
            return
        store = ValkeyJobStore(connect_async(valkey.url))
        yield InValkey(runner, store, client)
        runner.run(store.close())


def submit(
    stand: Stand, job: Job, *, limits: Limits | None = None, idempotency: IdempotencyKey | None = None
) -> Job:
    return stand.run(stand.store.submit(job, limits=limits or Limits(), idempotency=idempotency))


def served(stand: Stand, count: int) -> list[str]:
    """The ids of the next jobs, each run to its end before the next is claimed."""
    ids: list[str] = []
    for number in range(count):
        job = stand.claim(f"w{number}")
        assert job is not None, ids
        assert stand.succeed(job) == JobState.SUCCEEDED
        ids.append(job.id)
    return ids


def test_a_thousand_jobs_of_one_key_do_not_hold_up_anothers_one(stand: Stand) -> None:
    for number in range(1000):
        submit(stand, make_job(f"a{number}", owner="alice"))
    bobs = submit(stand, make_job("bob", owner="bob"))
    assert stand.run(stand.store.queue_position(bobs)) == 2
    assert served(stand, 4) == ["a0", "bob", "a1", "a2"]


def test_keys_take_turns_and_who_was_served_longest_ago_is_next(stand: Stand) -> None:
    for owner in ("alice", "bob", "carol"):
        for number in range(3):
            submit(stand, make_job(f"{owner}{number}", owner=owner))
    assert served(stand, 4) == ["alice0", "bob0", "carol0", "alice1"]
    submit(stand, make_job("dave0", owner="dave"))
    assert served(stand, 4) == ["dave0", "bob1", "carol1", "alice2"]
    # Going away and coming back is no way to the front.
    submit(stand, make_job("alice3", owner="alice"))
    assert served(stand, 3) == ["bob2", "carol2", "alice3"]


def test_a_higher_priority_goes_first(stand: Stand) -> None:
    for name, priority in (("low", -1), ("usual", 0), ("high", 7), ("second", 7)):
        submit(stand, make_job(name, priority=priority))
    assert served(stand, 4) == ["high", "second", "usual", "low"]


def test_limits_hold_over_keys_and_names_and_let_others_pass(stand: Stand) -> None:
    wan = {"model:wan21": 2}
    for number in range(4):
        limits = {**wan, "name:fast": 1} if number % 2 else wan
        submit(stand, make_job(f"wan{number}", owner=f"key{number}", running_limits=limits))
    submit(stand, make_job("other", owner="key0"))
    first, second, third = (stand.claim(f"w{number}") for number in range(3))
    assert [job and job.id for job in (first, second, third)] == ["wan0", "wan1", "other"]
    assert stand.claim("idle") is None, "two run, and that is the most"
    assert first is not None
    stand.succeed(first)
    after = stand.claim("w3")
    assert after is not None
    assert after.id == "wan2", "wan3 waits for the other job of its name too"
    stand.succeed(after)
    assert stand.claim("w4") is None
    assert second is not None
    stand.succeed(second)
    last = stand.claim("w5")
    assert last is not None
    assert last.id == "wan3"


@pytest.mark.parametrize("seed", range(5))
def test_positions_are_the_order_of_service(stand: Stand, seed: int) -> None:
    draw = random.Random(seed)
    for number in range(40):
        owner = draw.choice(["alice", "alice", "alice", "bob", "carol"])
        # Several lanes of one key, with limits that nobody reaches.
        limits = {draw.choice(["model:a", "model:b"]): 100}
        job = make_job(f"j{number}", owner=owner, priority=draw.choice([0, 0, 3]), running_limits=limits)
        submit(stand, job)
    served(stand, 10)
    waiting = stand.run(stand.store.list(owner=None, states=[JobState.QUEUED], limit=100))
    positions = {job.id: stand.run(stand.store.queue_position(job)) for job in waiting}
    assert sorted(positions, key=lambda name: positions[name] or 0) == served(stand, 30)
    assert sorted(positions.values(), key=lambda place: place or 0) == list(range(1, 31))
    assert stand.run(stand.store.queue_position(waiting[0])) is None


def test_a_repeat_is_given_the_first_ones_job(stand: Stand) -> None:
    idempotency = IdempotencyKey(key="k", fingerprint="boat")
    first = submit(stand, make_job("first", owner="alice"), idempotency=idempotency)
    full = Limits(max_queued=1, owner_max_queued=1)
    assert submit(stand, make_job("second", owner="alice"), idempotency=idempotency, limits=full) == first
    with pytest.raises(IdempotencyMismatch):
        submit(
            stand,
            make_job("third", owner="alice"),
            idempotency=IdempotencyKey(key="k", fingerprint="tree"),
            limits=full,
        )
    assert submit(stand, make_job("bobs", owner="bob"), idempotency=idempotency).id == "bobs", (
        "a key is its owner's"
    )
    job = stand.claim("w")
    assert job is not None
    stand.succeed(job)
    again = submit(stand, make_job("fourth", owner="alice"), idempotency=idempotency)
    assert (again.id, again.state) == ("first", JobState.SUCCEEDED)
    assert stand.run(stand.store.counts()).active == 1


def test_a_first_sending_makes_a_job_of_its_own(stand: Stand) -> None:
    """A client that marks only its repeats may well ask twice for the same."""
    first, repeat = IdempotencyKey(key="k", repeat=False, age=60), IdempotencyKey(key="k")
    assert submit(stand, make_job("one"), idempotency=first).id == "one"
    assert submit(stand, make_job("two"), idempotency=first).id == "two"
    assert submit(stand, make_job("three"), idempotency=repeat).id == "two", "the newest is repeated"


def test_a_repeat_that_overtakes_the_first_sending(stand: Stand) -> None:
    """The first is still being read when its client gives up and sends it again."""
    assert submit(stand, make_job("repeat"), idempotency=IdempotencyKey(key="k")).id == "repeat"
    assert (
        submit(stand, make_job("first"), idempotency=IdempotencyKey(key="k", repeat=False, age=60)).id
        == "repeat"
    )
    assert (
        submit(stand, make_job("later"), idempotency=IdempotencyKey(key="k", repeat=False, age=0)).id
        == "later"
    )


def test_a_mark_is_forgotten_in_time_and_with_its_job(stand: Stand) -> None:
    short = IdempotencyKey(key="short", seconds=1)
    submit(stand, make_job("one"), idempotency=short)
    submit(stand, make_job("a"), idempotency=IdempotencyKey(key="k"))
    stand.run(stand.store.delete("a"))
    assert submit(stand, make_job("b"), idempotency=IdempotencyKey(key="k")).id == "b"
    # A running job that is deleted still has its record for a while.
    for name in ("w1", "w2"):
        stand.claim(name)
    stand.run(stand.store.delete("b"))
    assert submit(stand, make_job("c"), idempotency=IdempotencyKey(key="k")).id == "c"
    stand.run(asyncio.sleep(1.1))
    assert submit(stand, make_job("two"), idempotency=short).id == "two"


def test_what_a_submit_would_say_is_known_before(stand: Stand) -> None:
    limits = Limits(max_queued=3, owner_max_queued=2, owner_max_active=2)
    submit(stand, make_job("mine", owner="alice"))

    def check_admission(job_id: str = "", owner: str = "alice") -> Job | None:
        return stand.run(stand.store.check_admission(job_id, owner, limits=limits, idempotency=None))

    assert check_admission() is None
    with pytest.raises(JobExists):
        check_admission("mine", "bob")
    submit(stand, make_job("second", owner="alice"))
    with pytest.raises(KeyLimitReached):
        check_admission()
    submit(stand, make_job("third", owner="bob"))
    with pytest.raises(QueueFull):
        check_admission(owner="bob")
    assert stand.run(stand.store.counts()).queued == 3, "it was only asked"


def test_pages_both_ways(stand: Stand) -> None:
    for number in range(7):
        submit(stand, make_job(f"v{number}", owner="alice", collection="videos"))
        submit(stand, make_job(f"p{number}", owner="alice", collection="pictures"))
        submit(stand, make_job(f"b{number}", owner="bob", collection="videos"))

    def page(after: str, *, newest_first: bool) -> tuple[list[str], bool] | None:
        found = stand.run(
            stand.store.page("videos", owner="alice", after=after, limit=3, newest_first=newest_first)
        )
        return ([job.id for job in found.jobs], found.has_more) if found else None

    assert page("", newest_first=True) == (["v6", "v5", "v4"], True)
    assert page("v4", newest_first=True) == (["v3", "v2", "v1"], True)
    assert page("v1", newest_first=True) == (["v0"], False)
    assert page("v0", newest_first=True) == ([], False)
    assert page("", newest_first=False) == (["v0", "v1", "v2"], True)
    assert page("v3", newest_first=False) == (["v4", "v5", "v6"], False)
    for stranger in ("b1", "p1", "nothing"):
        assert page(stranger, newest_first=True) is None
    stand.run(stand.store.delete("v5"))
    assert page("", newest_first=True) == (["v6", "v4", "v3"], True)
    assert page("v5", newest_first=True) == (["v4", "v3", "v2"], True)
    assert page("v5", newest_first=False) == (["v6"], False)


def test_who_removes_what_is_listed_can_go_on_listing(stand: Stand) -> None:
    for number in range(8):
        submit(stand, make_job(f"v{number}", owner="alice", collection="videos"))
    submit(stand, make_job("b", owner="bob", collection="videos"))
    served(stand, 9)

    def page(after: str, owner: str = "alice") -> list[Job] | None:
        found = stand.run(stand.store.page("videos", owner=owner, after=after, limit=3, newest_first=True))
        return list(found.jobs) if found else None

    seen: list[str] = []
    while found := page(seen[-1] if seen else ""):
        for job in found:
            stand.run(stand.store.delete(job.id))
            stand.run(stand.store.forget(job))
        seen += [job.id for job in found]
    assert seen == [f"v{number}" for number in reversed(range(8))]
    # Retention forgets what nobody has deleted.
    bobs = stand.run(stand.store.get("b"))
    assert bobs is not None
    stand.run(stand.store.forget(bobs))
    assert page("b", "bob") == []
    assert page("b") is None, "another key's cursor"
    # An id may be used again: then it stands where the new job is.
    submit(stand, make_job("v7", owner="alice", collection="videos"))
    submit(stand, make_job("v8", owner="alice", collection="videos"))
    assert [job.id for job in page("v8") or ()] == ["v7"]
    assert page("v7") == []


def test_a_deleted_job_is_gone_at_once(stand: Stand) -> None:
    job = make_job("gone", owner="alice", collection="videos", result_name="boat.mp4")
    submit(stand, job)
    store = stand.store

    async def tell_watcher() -> None:
        async with store.changes("gone") as ticks:
            await store.delete("gone")
            await asyncio.wait_for(anext(ticks), 5)

    stand.run(tell_watcher())
    assert stand.run(store.get("gone")) is None
    assert stand.run(store.list(owner=None, states=(), limit=10)) == []
    assert stand.run(store.find_by_lookup_label("alice", "boat.mp4")) is None
    assert stand.run(store.find_shared(job.share_id)) is None
    assert stand.run(store.cancel("gone")) is None
    assert stand.run(store.delete("gone")) is None
    assert stand.claim("w") is None


def test_a_running_job_that_is_deleted_holds_its_place_until_its_worker_leaves(stand: Stand) -> None:
    limits = {"key:alice": 1}
    for name in ("running", "next"):
        submit(stand, make_job(name, owner="alice", running_limits=limits))
    running = stand.claim("w1")
    assert running is not None
    before = stand.run(stand.store.delete("running"))
    assert before is not None
    assert (before.id, before.state) == ("running", JobState.RUNNING)
    assert stand.run(stand.store.get("running")) is None
    assert stand.claim("w2") is None
    assert stand.succeed(running) == JobState.CANCELLED
    following = stand.claim("w2")
    assert following is not None
    assert following.id == "next"


def test_a_hundred_equal_submissions_at_once_are_one_job(stand: Stand) -> None:
    idempotency = IdempotencyKey(key="k", fingerprint="boat")

    async def all_at_once() -> list[Job]:
        store = stand.store
        jobs = (make_job(f"j{number}", owner="alice") for number in range(100))
        return await asyncio.gather(
            *(store.submit(job, limits=Limits(), idempotency=idempotency) for job in jobs)
        )

    made = stand.run(all_at_once())
    assert len({job.id for job in made}) == 1
    assert stand.run(stand.store.counts()).queued == 1
