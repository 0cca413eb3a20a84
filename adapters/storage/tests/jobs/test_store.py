"""Job records in Valkey: lists, and limits under load."""

import asyncio

from framegate.core.errors import QueueFull
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.storage.jobs.store import ValkeyJobStore
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
