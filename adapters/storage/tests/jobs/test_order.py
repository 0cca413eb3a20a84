"""The order of service, idempotency and lists: the same from both stores."""

import asyncio
import random
from contextlib import aclosing
from typing import Protocol

import pytest
import redis

from framegate.core.errors import IdempotencyMismatch, JobExists, KeyLimitReached, QueueFull
from framegate.core.job_watches import JobWatches
from framegate.core.jobs import Job, JobState
from framegate.core.ports import IdempotencyKey, JobFilter, JobStore, Limits, ScannedJobs
from framegate.core.testing import InMemoryJobStore
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job


class StoreInUse(Protocol):
    """A store, and what a worker does to its jobs."""

    store: JobStore

    def claim(self, worker: str) -> Job | None: ...

    def succeed(self, job: Job) -> JobState | None: ...


class InMemory:
    def __init__(self) -> None:
        self._memory = InMemoryJobStore()
        self.store: JobStore = self._memory

    def claim(self, worker: str) -> Job | None:
        return self._memory.claim_next(worker)

    def succeed(self, job: Job) -> JobState | None:
        return self._memory.succeed(job.id).state


class InValkey:
    def __init__(self, store: ValkeyJobStore, client: redis.Redis) -> None:
        self._client = client
        self.store: JobStore = store

    def claim(self, worker: str) -> Job | None:
        return WorkerStore(self._client, worker).claim("q-test", ["test"])

    def succeed(self, job: Job) -> JobState | None:
        return WorkerStore(self._client, job.worker).succeed(job, ())


@pytest.fixture(params=["memory", "valkey"])
def stand(request: pytest.FixtureRequest, store: ValkeyJobStore, client: redis.Redis) -> StoreInUse:
    return InMemory() if request.param == "memory" else InValkey(store, client)


async def submit(
    stand: StoreInUse, job: Job, *, limits: Limits | None = None, idempotency: IdempotencyKey | None = None
) -> Job:
    return await stand.store.submit(job, limits=limits or Limits(), idempotency=idempotency)


def served(stand: StoreInUse, count: int) -> list[str]:
    """The ids of the next jobs, each run to its end before the next is claimed."""
    ids: list[str] = []
    for number in range(count):
        job = stand.claim(f"w{number}")
        assert job is not None, ids
        assert stand.succeed(job) == JobState.SUCCEEDED
        ids.append(job.id)
    return ids


async def test_a_thousand_jobs_of_one_key_do_not_hold_up_anothers_one(stand: StoreInUse) -> None:
    for number in range(1000):
        await submit(stand, make_job(f"a{number}", owner="alice"))
    bobs = await submit(stand, make_job("bob", owner="bob"))
    assert await stand.store.queue_positions([bobs]) == [2]
    assert served(stand, 4) == ["a0", "bob", "a1", "a2"]


async def test_keys_take_turns_and_who_was_served_longest_ago_is_next(stand: StoreInUse) -> None:
    for owner in ("alice", "bob", "carol"):
        for number in range(3):
            await submit(stand, make_job(f"{owner}{number}", owner=owner))
    assert served(stand, 4) == ["alice0", "bob0", "carol0", "alice1"]
    await submit(stand, make_job("dave0", owner="dave"))
    assert served(stand, 4) == ["dave0", "bob1", "carol1", "alice2"]
    # Leaving and coming back does not lead to the front.
    await submit(stand, make_job("alice3", owner="alice"))
    assert served(stand, 3) == ["bob2", "carol2", "alice3"]


async def test_a_higher_priority_goes_first(stand: StoreInUse) -> None:
    for name, priority in (("low", -1), ("usual", 0), ("high", 7), ("second", 7)):
        await submit(stand, make_job(name, priority=priority))
    assert served(stand, 4) == ["high", "second", "usual", "low"]


async def test_limits_hold_over_keys_and_names_and_let_others_pass(stand: StoreInUse) -> None:
    wan = {"model:wan21": 2}
    for number in range(4):
        limits = {**wan, "name:fast": 1} if number % 2 else wan
        await submit(stand, make_job(f"wan{number}", owner=f"key{number}", running_limits=limits))
    await submit(stand, make_job("other", owner="key0"))
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
async def test_positions_are_the_order_of_service(stand: StoreInUse, seed: int) -> None:
    draw = random.Random(seed)
    for number in range(40):
        owner = draw.choice(["alice", "alice", "alice", "bob", "carol"])
        # Several lanes of one key, with limits that nobody reaches.
        limits = {draw.choice(["model:a", "model:b"]): 100}
        job = make_job(f"j{number}", owner=owner, priority=draw.choice([0, 0, 3]), running_limits=limits)
        await submit(stand, job)
    served(stand, 10)
    waiting = await stand.store.list(owner=None, states=[JobState.QUEUED], limit=100)
    found = await stand.store.queue_positions(waiting)
    positions = {job.id: position for job, position in zip(waiting, found, strict=True)}
    assert sorted(positions, key=lambda name: positions[name] or 0) == served(stand, 30)
    assert sorted(positions.values(), key=lambda place: place or 0) == list(range(1, 31))
    assert await stand.store.queue_positions([waiting[0]]) == [None]


async def test_a_repeat_is_given_the_first_ones_job(stand: StoreInUse) -> None:
    idempotency = IdempotencyKey(key="k", fingerprint="boat")
    first = await submit(stand, make_job("first", owner="alice"), idempotency=idempotency)
    full = Limits(max_queued=1, owner_max_queued=1)
    assert (
        await submit(stand, make_job("second", owner="alice"), idempotency=idempotency, limits=full) == first
    )
    with pytest.raises(IdempotencyMismatch):
        await submit(
            stand,
            make_job("third", owner="alice"),
            idempotency=IdempotencyKey(key="k", fingerprint="tree"),
            limits=full,
        )
    assert (await submit(stand, make_job("bobs", owner="bob"), idempotency=idempotency)).id == "bobs", (
        "a key is its owner's"
    )
    job = stand.claim("w")
    assert job is not None
    stand.succeed(job)
    again = await submit(stand, make_job("fourth", owner="alice"), idempotency=idempotency)
    assert (again.id, again.state) == ("first", JobState.SUCCEEDED)
    assert (await stand.store.counts()).active == 1


async def test_a_first_sending_makes_a_job_of_its_own(stand: StoreInUse) -> None:
    """A client that marks only its repeats may well ask twice for the same."""
    first, repeat = IdempotencyKey(key="k", repeat=False), IdempotencyKey(key="k")
    assert (await submit(stand, make_job("one"), idempotency=first)).id == "one"
    assert (await submit(stand, make_job("two"), idempotency=first)).id == "two"
    assert (await submit(stand, make_job("three"), idempotency=repeat)).id == "two", "the newest is repeated"


async def test_a_repeat_that_overtakes_the_first_sending(stand: StoreInUse) -> None:
    """The first is still being read when its client gives up and sends it again."""
    first = IdempotencyKey(key="k", repeat=False)
    assert (await submit(stand, make_job("repeat"), idempotency=IdempotencyKey(key="k"))).id == "repeat"
    assert (await submit(stand, make_job("first"), idempotency=first)).id == "repeat"
    later = IdempotencyKey(key="k", repeat=False)
    assert (await submit(stand, make_job("later"), idempotency=later)).id == "later"


async def test_a_mark_is_forgotten_in_time_and_with_its_job(stand: StoreInUse) -> None:
    short = IdempotencyKey(key="short", seconds=1)
    await submit(stand, make_job("one"), idempotency=short)
    await submit(stand, make_job("a"), idempotency=IdempotencyKey(key="k"))
    await stand.store.delete("a")
    assert (await submit(stand, make_job("b"), idempotency=IdempotencyKey(key="k"))).id == "b"
    # A running job that is deleted still has its record for a while.
    for name in ("w1", "w2"):
        stand.claim(name)
    await stand.store.delete("b")
    assert (await submit(stand, make_job("c"), idempotency=IdempotencyKey(key="k"))).id == "c"
    await asyncio.sleep(1.1)
    assert (await submit(stand, make_job("two"), idempotency=short)).id == "two"


async def test_what_a_submit_would_say_is_known_before(stand: StoreInUse) -> None:
    limits = Limits(max_queued=3, owner_max_queued=2, owner_max_active=2)
    await submit(stand, make_job("mine", owner="alice"))

    async def check_admission(job_id: str = "", owner: str = "alice") -> Job | None:
        return await stand.store.check_admission(job_id, owner, limits=limits, idempotency=None)

    assert await check_admission() is None
    with pytest.raises(JobExists):
        await check_admission("mine", "bob")
    await submit(stand, make_job("second", owner="alice"))
    with pytest.raises(KeyLimitReached):
        await check_admission()
    await submit(stand, make_job("third", owner="bob"))
    with pytest.raises(QueueFull):
        await check_admission(owner="bob")
    assert (await stand.store.counts()).queued == 3, "it was only asked"


async def test_pages_both_ways(stand: StoreInUse) -> None:
    for number in range(7):
        await submit(stand, make_job(f"v{number}", owner="alice", collection="videos"))
        await submit(stand, make_job(f"p{number}", owner="alice", collection="pictures"))
        await submit(stand, make_job(f"b{number}", owner="bob", collection="videos"))

    async def page(after: str, *, newest_first: bool) -> tuple[list[str], bool] | None:
        found = await stand.store.page(
            "videos", owner="alice", after=after, limit=3, newest_first=newest_first
        )
        return ([job.id for job in found.jobs], found.has_more) if found else None

    assert await page("", newest_first=True) == (["v6", "v5", "v4"], True)
    assert await page("v4", newest_first=True) == (["v3", "v2", "v1"], True)
    assert await page("v1", newest_first=True) == (["v0"], False)
    assert await page("v0", newest_first=True) == ([], False)
    assert await page("", newest_first=False) == (["v0", "v1", "v2"], True)
    assert await page("v3", newest_first=False) == (["v4", "v5", "v6"], False)
    for stranger in ("b1", "p1", "nothing"):
        assert await page(stranger, newest_first=True) is None
    await stand.store.delete("v5")
    assert await page("", newest_first=True) == (["v6", "v4", "v3"], True)
    assert await page("v5", newest_first=True) == (["v4", "v3", "v2"], True)
    assert await page("v5", newest_first=False) == (["v6"], False)


async def test_who_removes_what_is_listed_can_go_on_listing(stand: StoreInUse) -> None:
    for number in range(8):
        await submit(stand, make_job(f"v{number}", owner="alice", collection="videos"))
    await submit(stand, make_job("b", owner="bob", collection="videos"))
    served(stand, 9)

    async def page(after: str, owner: str = "alice") -> list[Job] | None:
        found = await stand.store.page("videos", owner=owner, after=after, limit=3, newest_first=True)
        return list(found.jobs) if found else None

    seen: list[str] = []
    while found := await page(seen[-1] if seen else ""):
        for job in found:
            await stand.store.delete(job.id)
            await stand.store.delete_record(job)
        seen += [job.id for job in found]
    assert seen == [f"v{number}" for number in reversed(range(8))]
    # Retention forgets what nobody has deleted.
    bobs = await stand.store.get("b")
    assert bobs is not None
    await stand.store.delete_record(bobs)
    assert await page("b", "bob") == []
    assert await page("b") is None, "another key's cursor"
    # An id may be used again: then it stands where the new job is.
    await submit(stand, make_job("v7", owner="alice", collection="videos"))
    await submit(stand, make_job("v8", owner="alice", collection="videos"))
    assert [job.id for job in await page("v8") or ()] == ["v7"]
    assert await page("v7") == []


async def test_a_deleted_job_is_gone_at_once(stand: StoreInUse) -> None:
    job = make_job("gone", owner="alice", collection="videos", result_name="boat.mp4")
    await submit(stand, job)
    store = stand.store

    async with aclosing(JobWatches(store).watch("gone")) as states, asyncio.timeout(5):
        assert await anext(states) is not None
        await store.delete("gone")
        assert await anext(states) is None
    assert await store.get("gone") is None
    assert await store.list(owner=None, states=(), limit=10) == []
    assert await store.find_by_lookup_label("alice", "boat.mp4") is None
    assert await store.find_shared(job.share_id) is None
    assert await store.cancel("gone") is None
    assert await store.delete("gone") is None
    assert stand.claim("w") is None


async def test_a_running_job_that_is_deleted_holds_its_place_until_its_worker_leaves(
    stand: StoreInUse,
) -> None:
    limits = {"key:alice": 1}
    for name in ("running", "next"):
        await submit(stand, make_job(name, owner="alice", running_limits=limits))
    running = stand.claim("w1")
    assert running is not None
    before = await stand.store.delete("running")
    assert before is not None
    assert (before.id, before.state) == ("running", JobState.RUNNING)
    assert await stand.store.get("running") is None
    assert stand.claim("w2") is None
    assert stand.succeed(running) == JobState.CANCELLED
    following = stand.claim("w2")
    assert following is not None
    assert following.id == "next"


async def test_a_hundred_equal_submissions_at_once_are_one_job(stand: StoreInUse) -> None:
    idempotency = IdempotencyKey(key="k", fingerprint="boat")

    async def all_at_once() -> list[Job]:
        store = stand.store
        jobs = (make_job(f"j{number}", owner="alice") for number in range(100))
        return await asyncio.gather(
            *(store.submit(job, limits=Limits(), idempotency=idempotency) for job in jobs)
        )

    made = await all_at_once()
    assert len({job.id for job in made}) == 1
    assert (await stand.store.counts()).queued == 1


async def scanned(stand: StoreInUse, which: JobFilter, limit: int) -> list[str]:
    """The ids of a whole list, part by part."""
    ids: list[str] = []
    before: int | None = None
    while True:
        part = await stand.store.scan(which, before=before, limit=limit)
        assert len(part.jobs) <= limit
        ids += [job.id for job in part.jobs]
        if (before := part.next) is None:
            return ids


async def test_scans_find_what_matches_newest_first(stand: StoreInUse) -> None:
    for number in range(9):
        await submit(stand, make_job(f"a{number}", owner="alice", model="big" if number % 2 else "test"))
        await submit(stand, make_job(f"b{number}", owner="bob"))
    served(stand, 4)
    await stand.store.cancel("a7")
    alices = [f"a{number}" for number in reversed(range(9))]
    for limit in (1, 2, 4, 9, 100):
        assert await scanned(stand, JobFilter("alice"), limit) == alices
        assert len(await scanned(stand, JobFilter(None), limit)) == 18
        big = JobFilter("alice", model="big")
        assert await scanned(stand, big, limit) == ["a7", "a5", "a3", "a1"]
        ended = JobFilter("alice", frozenset({JobState.SUCCEEDED, JobState.CANCELLED}))
        assert await scanned(stand, ended, limit) == ["a7", "a1", "a0"]
        everybodys = JobFilter(None, frozenset({JobState.SUCCEEDED, JobState.CANCELLED}))
        assert await scanned(stand, everybodys, limit) == ["a7", "b1", "a1", "b0", "a0"]
        waiting = JobFilter("alice", frozenset({JobState.QUEUED}), model="test")
        assert await scanned(stand, waiting, limit) == ["a8", "a6", "a5", "a4", "a3", "a2"]
        assert await scanned(stand, JobFilter("nobody"), limit) == []
    assert await stand.store.scan(JobFilter("alice"), before=None, limit=9) == ScannedJobs(
        [job for name in alices if (job := await stand.store.get(name))], None
    )


async def test_a_scan_goes_on_where_it_was_while_jobs_come_and_go(stand: StoreInUse) -> None:
    for number in range(6):
        await submit(stand, make_job(f"v{number}", owner="alice"))
    first = await stand.store.scan(JobFilter("alice"), before=None, limit=2)
    assert [job.id for job in first.jobs] == ["v5", "v4"]
    await submit(stand, make_job("new", owner="alice"))
    for gone in ("v4", "v3"):
        await stand.store.delete(gone)
    second = await stand.store.scan(JobFilter("alice"), before=first.next, limit=2)
    assert [job.id for job in second.jobs] == ["v2", "v1"]
