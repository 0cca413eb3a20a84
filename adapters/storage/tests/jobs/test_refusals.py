"""Clients that count their retries: refusals are counted, and each job answers one submission's retries."""

import asyncio
import time
from collections.abc import Awaitable

import pytest

from framegate.core.errors import JobExists, KeyLimitReached, QueueFull
from framegate.core.ports import IdempotencyKey, JobStore, Limits
from framegate.core.testing import InMemoryJobStore
from framegate.storage.jobs.store import ValkeyJobStore
from tests.support.sample_jobs import make_job

FULL = Limits(max_queued=1)
BUSY = Limits(owner_max_queued=1)


@pytest.fixture(params=["memory", "valkey"])
def jobs(request: pytest.FixtureRequest, store: ValkeyJobStore) -> JobStore:
    return InMemoryJobStore() if request.param == "memory" else store


def sent(retries: int, *, seconds: int = 60, since: float | None = None) -> IdempotencyKey:
    return IdempotencyKey(
        key="k",
        seconds=seconds,
        repeat=retries > 0,
        retries=retries,
        since=time.monotonic() if since is None else since,
    )


async def submit(jobs: JobStore, name: str, key: IdempotencyKey, owner: str = "alice") -> str:
    job = await jobs.submit(make_job(name, owner=owner), limits=Limits(), idempotency=key)
    return job.id


async def refuse(
    jobs: JobStore, key: IdempotencyKey, limits: Limits = FULL, *, submits: bool = False
) -> None:
    """Send what is refused, because one job waits already."""
    if submits:
        asking: Awaitable[object] = jobs.submit(
            make_job("refused", owner="alice"), limits=limits, idempotency=key
        )
    else:
        asking = jobs.check_admission("", "alice", limits=limits, idempotency=key)
    with pytest.raises(KeyLimitReached if limits == BUSY else QueueFull):
        await asking


@pytest.mark.parametrize("limits", [FULL, BUSY])
@pytest.mark.parametrize("submits", [False, True])
async def test_a_retry_uses_up_a_refusal_first(jobs: JobStore, limits: Limits, submits: bool) -> None:
    assert await submit(jobs, "a", sent(0)) == "a"
    await refuse(jobs, sent(0), limits, submits=submits)
    assert await submit(jobs, "b", sent(1)) == "b"
    assert await submit(jobs, "c", sent(1)) == "a"
    assert await submit(jobs, "d", sent(2)) == "b"


async def test_a_retry_that_is_refused_again(jobs: JobStore) -> None:
    assert await submit(jobs, "a", sent(0)) == "a"
    for retries in (0, 1, 2):
        await refuse(jobs, sent(retries))
    assert await submit(jobs, "b", sent(3)) == "b"
    assert await submit(jobs, "c", sent(1)) == "a"


async def test_one_submission_counts_one_refusal(jobs: JobStore) -> None:
    """Whoever notices it, and however often."""
    assert await submit(jobs, "a", sent(0)) == "a"
    key = sent(0)
    await refuse(jobs, key)
    await refuse(jobs, key, submits=True)
    await jobs.count_refusal("alice", key)
    assert await submit(jobs, "b", sent(1)) == "b"
    assert await submit(jobs, "c", sent(1)) == "a"


async def test_what_is_checked_is_not_used_up(jobs: JobStore) -> None:
    """The job may still fail to come about, for the sake of its inputs."""
    assert await submit(jobs, "a", sent(0)) == "a"
    await refuse(jobs, sent(0))
    retry = sent(1)
    assert await jobs.check_admission("", "alice", limits=Limits(), idempotency=retry) is None
    await jobs.count_refusal("alice", retry)
    assert await submit(jobs, "b", sent(2)) == "b"
    assert await submit(jobs, "c", sent(1)) == "a"


async def test_refusals_are_their_owners_and_are_forgotten(jobs: JobStore) -> None:
    await jobs.count_refusal("alice", sent(0, seconds=1))
    assert await submit(jobs, "bobs", sent(0, seconds=1), "bob") == "bobs"
    assert await submit(jobs, "b", sent(1, seconds=1), "bob") == "bobs"
    await asyncio.sleep(1.1)
    assert await submit(jobs, "a", sent(0, seconds=1)) == "a"
    assert await submit(jobs, "c", sent(1, seconds=1)) == "a"


async def test_a_key_of_the_clients_own_has_no_refusals(jobs: JobStore) -> None:
    key = IdempotencyKey(key="k")
    assert await submit(jobs, "a", key) == "a"
    await jobs.count_refusal("alice", key)
    assert await submit(jobs, "b", key) == "a"


async def test_a_taken_id_is_no_refusal(jobs: JobStore) -> None:
    assert await submit(jobs, "a", sent(0)) == "a"
    with pytest.raises(JobExists):
        await submit(jobs, "a", sent(0))
    assert await submit(jobs, "b", sent(1)) == "a"


async def test_each_job_answers_the_retries_of_one_submission(jobs: JobStore) -> None:
    """All answers were lost at once."""
    names = [f"j{number}" for number in range(6)]
    assert [await submit(jobs, name, sent(0)) for name in names] == names
    for retries in (1, 2):
        answers = [await submit(jobs, "other", sent(retries)) for _ in names]
        assert sorted(answers) == names
    await jobs.delete("j5")
    assert await submit(jobs, "other", sent(3)) == "j4"
    assert await submit(jobs, "new", sent(0)) == "new"


async def test_a_retry_that_overtakes_is_given_to_one_first_submission(jobs: JobStore) -> None:
    before = time.monotonic()
    assert await submit(jobs, "retry", sent(1)) == "retry"
    assert await submit(jobs, "first", sent(0, since=before)) == "retry"
    assert await submit(jobs, "other", sent(0, since=before)) == "other"
    # Nor is it given the job of a retry whose first submission was refused.
    await refuse(jobs, sent(0))
    assert await submit(jobs, "new", sent(1)) == "new"
    assert await submit(jobs, "third", sent(0, since=before)) == "third"
