"""What records may take: each of them, and all of an owner's together."""

from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, QuotaReached
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage.jobs.records import MAX_RECORD
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import MAX_MESSAGE, WorkerStore
from tests.support.sample_jobs import make_job

VIDEO = Artifact(MediaKind.VIDEO, "results/a/1-0.mp4", "video/mp4", 12, 64, 64)


def sums(client: redis.Redis, owner: str = "alice") -> tuple[int, int]:
    """Return how many records are counted, and their bytes."""
    jobs, size = cast("list[str | None]", client.hmget(f"fg:recorded:{owner}", "jobs", "bytes"))
    return int(jobs or 0), int(size or 0)


def record_of(client: redis.Redis, job_id: str) -> int:
    return int(cast("str", client.hget(f"fg:job:{job_id}", "record")))


async def submit(store: ValkeyJobStore, *names: str, limit: int = 0) -> list[Job]:
    made = [make_job(name, owner="alice") for name in names]
    return [await store.submit(job, limits=Limits(owner_max_records=limit)) for job in made]


async def test_records_count_from_submission_to_removal(store: ValkeyJobStore, client: redis.Redis) -> None:
    a, b, c = await submit(store, "a", "b", "c")
    assert sums(client) == (3, sum(record_of(client, name) for name in "abc"))
    before = record_of(client, "a")
    worker = WorkerStore(client, "w")
    first, second = worker.claim("q-test", ["test"]), WorkerStore(client, "v").claim("q-test", ["test"])
    assert first is not None
    assert second is not None
    worker.succeed(first, (VIDEO,))
    worker.succeed(first, (VIDEO,))  # a repeat counts once
    WorkerStore(client, "v").fail("b", 1, JobError("x", "y" * 100))
    assert record_of(client, "a") > before
    assert record_of(client, "b") > before + 100
    assert sums(client) == (3, sum(record_of(client, name) for name in "abc"))
    written = sum(map(len, cast("dict[str, str]", client.hgetall("fg:job:a")).values()))
    assert written <= record_of(client, "a") <= written + 2500
    await store.delete("c")  # waits, is hidden at once
    assert sums(client) == (2, sum(record_of(client, name) for name in "ab"))
    for job in (a, b, c):
        await store.delete_record(job)
    assert sums(client) == (0, 0)
    assert client.exists("fg:recorded:alice") == 0


async def test_an_owner_whose_records_take_too_much_is_refused(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "a")
    limit = 2 * record_of(client, "a") + 100
    await submit(store, "b", limit=limit)
    with pytest.raises(QuotaReached, match=r"take [\d,]+ bytes of the [\d,]+ bytes") as refused:
        await submit(store, "c", limit=limit)
    assert "storage" not in refused.value.message
    assert await store.get("c") is None
    await store.submit(make_job("bobs", owner="bob"), limits=Limits(owner_max_records=limit))
    limits = Limits(owner_max_records=sums(client)[1])
    with pytest.raises(QuotaReached):
        await store.check_admission("", "alice", limits=limits, idempotency=None)
    await store.delete("a")
    await submit(store, "c", limit=limit)


async def test_records_that_others_remove_no_longer_count(store: ValkeyJobStore, client: redis.Redis) -> None:
    """An earlier version removed them, or a server that evicts keys did."""
    await submit(store, *(f"j{number}" for number in range(10)))
    limit = sums(client)[1]
    with pytest.raises(QuotaReached):
        await submit(store, "more", limit=limit)
    for number in range(5):
        client.delete(f"fg:job:j{number}")
        client.zrem("fg:owner:alice", f"j{number}")
    await submit(store, "more", limit=limit)
    assert sums(client) == (6, limit // 2 + record_of(client, "more"))


async def test_the_quota_is_not_that_of_records_that_were_never_counted(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Records of earlier versions count as 0 bytes."""
    for number in range(3):
        await submit(store, f"old{number}")
        client.hdel(f"fg:job:old{number}", "record")
    client.delete("fg:recorded:alice")
    [job] = await submit(store, "new", limit=8000)
    worker = WorkerStore(client, "w")
    old = worker.claim("q-test", ["test"])
    assert old is not None
    worker.succeed(old, (VIDEO,))
    assert sums(client) == (1, record_of(client, "new"))
    await store.delete_record(old)
    assert sums(client) == (1, record_of(client, "new"))
    await store.delete(job.id)
    assert sums(client) == (0, 0)


async def test_a_record_that_is_too_large_is_the_requests_fault(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    job = replace(make_job("a"), labels={"note": "x" * MAX_RECORD})
    with pytest.raises(InvalidRequest, match=r"would have 2,\d\d\d,\d\d\d bytes; at most 2,097,152"):
        await store.submit(job, limits=Limits())
    assert client.keys("*") == []


async def test_the_message_of_an_error_is_cut(store: ValkeyJobStore, client: redis.Redis) -> None:
    """A backend may put a whole page into it."""
    await submit(store, "a")
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    assert worker.fail("a", 1, JobError("generation_failed", "é" * 100_000)) == JobState.FAILED
    ended = await store.get("a")
    assert ended is not None
    assert ended.error == JobError("generation_failed", "é" * (MAX_MESSAGE - 1) + "…")
