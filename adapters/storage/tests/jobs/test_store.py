"""Job records in Valkey: lists, and limits under load."""

import asyncio
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import QueueFull
from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobFilter, Limits
from framegate.storage.jobs import lists
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job


async def test_listing_is_newest_first_and_by_owner_and_state(store: ValkeyJobStore) -> None:
    for index in range(450):
        await store.submit(make_job(f"j{index}", owner="alice" if index % 3 else "bob"), limits=Limits())
    await store.cancel("j3")
    everybodys = await store.list(owner=None, states=(), limit=420)
    bobs = await store.list(owner="bob", states=(), limit=3)
    cancelled = await store.list(owner="bob", states=[JobState.CANCELLED], limit=10)
    assert [job.id for job in everybodys] == [f"j{index}" for index in range(449, 29, -1)]
    assert [job.id for job in bobs] == ["j447", "j444", "j441"]
    assert [job.id for job in cancelled] == ["j3"]


async def test_queue_cap_holds_under_64_submits_at_once(store: ValkeyJobStore) -> None:
    outcomes = await asyncio.gather(
        *(store.submit(make_job(f"j{i}"), limits=Limits(max_queued=5)) for i in range(64)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 59


async def test_a_repeated_submit_of_the_same_job_is_one_job(store: ValkeyJobStore) -> None:
    """The client library repeats a call whose reply was lost."""
    job = make_job("once")
    first = await store.submit(job, limits=Limits())
    assert await store.submit(job, limits=Limits()) == first
    assert await store.get("once") == first
    assert (await store.counts()).queued == 1


# Active jobs.

ACTIVE = (JobState.QUEUED, JobState.RUNNING)


def records_read(client: redis.Redis) -> int:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return stats.get("cmdstat_hmget", {}).get("calls", 0)


@pytest.mark.parametrize("few", [lists.FEW_ACTIVE, 2])
async def test_active_jobs_are_found_among_many_that_ended(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Only their records are read, in the order of submission, whichever way they are found."""
    monkeypatch.setattr(lists, "FEW_ACTIVE", few)
    monkeypatch.setattr(lists, "LARGEST_STEP", 100)
    worker, other = WorkerStore(client, "w"), WorkerStore(client, "v")
    for index in range(300):
        await store.submit(make_job(f"j{index}", owner="alice"), limits=Limits())
        if index == 0:
            assert worker.claim("q-test", ["test"])
        elif index == 1:
            assert other.claim("q-test", ["test"])
        elif index not in (7, 150, 299):
            await store.cancel(f"j{index}")
    await store.submit(make_job("bobs", owner="bob"), limits=Limits())
    assert await store.delete("j1"), "its worker has not left it yet"
    before = records_read(client)
    assert [job.id for job in await store.list(owner="alice", states=ACTIVE, limit=9)] == [
        "j299",
        "j150",
        "j7",
        "j0",
    ]
    assert records_read(client) - before <= 4
    queued = await store.list(owner="alice", states=[JobState.QUEUED], limit=2)
    assert [job.id for job in queued] == ["j299", "j150"]
    assert [job.id for job in await store.list(owner="alice", states=[JobState.RUNNING], limit=9)] == ["j0"]
    everybodys = await store.list(owner=None, states=ACTIVE, limit=3)
    assert [job.id for job in everybodys] == ["bobs", "j299", "j150"]
    assert await store.list(owner="carol", states=ACTIVE, limit=3) == []


# Scans.


async def test_a_scan_looks_at_a_bounded_number_of_jobs(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it does not find in one part of the list it goes on looking for in the next."""
    monkeypatch.setattr(lists, "LARGEST_STEP", 20)
    monkeypatch.setattr(lists, "MOST_LOOKED_AT", 40)
    for index in range(130):
        await store.submit(make_job(f"j{index}", owner="alice", model=f"m{index}"), limits=Limits())
    for index in range(140):  # so that there are fewer of hers than of those that were cancelled
        await store.submit(make_job(f"bobs{index}", owner="bob"), limits=Limits())
        await store.cancel(f"bobs{index}")
    for index in (3, 60):
        await store.cancel(f"j{index}")
    assert await store.delete("j5")
    cancelled = JobFilter("alice", frozenset({JobState.CANCELLED}))
    parts: list[list[str]] = []
    before: int | None = None
    while not parts or before is not None:
        part = await store.scan(cancelled, before=before, limit=10)
        parts.append([job.id for job in part.jobs])
        before = part.next
    assert parts == [[], ["j60"], [], ["j3"]]
    read = records_read(client)
    part = await store.scan(JobFilter("alice", model="m0"), before=None, limit=10)
    assert (part.jobs, part.next is None) == ([], False)
    assert records_read(client) == read
    seen = 1
    while part.next is not None:
        part = await store.scan(JobFilter("alice", model="m0"), before=part.next, limit=10)
        seen += 1
    assert [job.id for job in part.jobs] == ["j0"]
    assert seen == 13, "a record counts as three jobs more"


async def test_few_of_a_state_are_found_at_once_among_many(
    store: ValkeyJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever set is smaller is looked through: the owner's jobs, or everybody's in these states."""
    monkeypatch.setattr(lists, "LARGEST_STEP", 20)
    monkeypatch.setattr(lists, "MOST_LOOKED_AT", 40)
    for index in range(90):
        await store.submit(make_job(f"j{index}", owner="alice"), limits=Limits())
    for name in ("bobs1", "bobs2", "bobs3"):
        await store.submit(make_job(name, owner="bob"), limits=Limits())
    for name in ("j0", "j1", "bobs1", "bobs3", "j2", "j3"):
        await store.cancel(name)
    await store.delete("j2")
    ended = frozenset({JobState.CANCELLED, JobState.FAILED})
    first = await store.scan(JobFilter("alice", ended), before=None, limit=2)
    assert [job.id for job in first.jobs] == ["j3", "j1"]
    rest = await store.scan(JobFilter("alice", ended), before=first.next, limit=2)
    assert ([job.id for job in rest.jobs], rest.next) == (["j0"], None)
    everybodys = await store.scan(JobFilter(None, ended), before=None, limit=9)
    assert [job.id for job in everybodys.jobs] == ["bobs3", "bobs1", "j3", "j1", "j0"]
    bobs = await store.scan(JobFilter("bob", ended), before=None, limit=9)
    assert [job.id for job in bobs.jobs] == ["bobs3", "bobs1"]


async def test_a_list_of_very_many_jobs_is_read_in_parts(
    store: ValkeyJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LARGEST_STEP", 7)
    monkeypatch.setattr(lists, "MOST_LOOKED_AT", 10)
    for index in range(30):
        await store.submit(make_job(f"j{index}", owner="alice"), limits=Limits())
    for limit in (1, 7, 8, 29, 30, 31):
        found = await store.list(owner="alice", states=(), limit=limit)
        assert [job.id for job in found] == [f"j{index}" for index in range(29, max(-1, 29 - limit), -1)]


async def test_a_scan_for_a_model_searches_few_long_records(
    store: ValkeyJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls wait while it does: what counts is the text that is searched."""
    monkeypatch.setattr(lists, "MOST_LOOKED_AT", 300)
    for number in range(8):
        job = make_job(f"j{number}")
        shot = replace(job.shots[0], prompt="x" * 100_000)
        await store.submit(replace(job, shots=(shot,)), limits=Limits())
    scans, before = 0, None
    while scans == 0 or before is not None:
        found = await store.scan(JobFilter(None, model="other"), before=before, limit=20)
        assert found.jobs == []
        scans, before = scans + 1, found.next
    assert scans in (3, 4, 5)
