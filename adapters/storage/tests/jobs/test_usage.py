"""What owners have used: counted once, whatever becomes of calls and of jobs."""

import re
import time
from datetime import timedelta
from typing import cast

import pytest
import redis
from msgspec.structs import asdict

from framegate.core.errors import QuotaReached
from framegate.core.jobs import MAX_ATTEMPTS, JobError
from framegate.core.ports import IdempotencyKey, Limits
from framegate.core.types import Artifact, MediaKind
from framegate.core.usage import KEPT_DAYS, Usage
from framegate.core.usage_service import UsageService
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job

VIDEO = Artifact(MediaKind.VIDEO, "results/a/1-0.mp4", "video/mp4", 12, 64, 64)
NO_LIMITS = Limits()


async def used(store: ValkeyJobStore, owner: str = "alice") -> Usage:
    return await UsageService(store.usage).today(owner)


def ran(client: redis.Redis, *names: str) -> float:
    """Return for how many seconds jobs ran, by their records."""
    spans = [cast("list[str]", client.hmget(f"fg:job:{name}", "started_at", "finished_at")) for name in names]
    return sum(round((float(end) - float(start)) * 1e6) for start, end in spans) / 1e6


async def test_each_step_counts_once(store: ValkeyJobStore, client: redis.Redis) -> None:
    worker = WorkerStore(client, "w")
    for name in "abcd":
        made = make_job(name, owner="alice", input_bytes=5)
        for _ in range(2):  # the client library repeats a call whose reply was lost
            await store.submit(made, limits=NO_LIMITS)
    repeated = IdempotencyKey(key="k", fingerprint="f")
    for name in ("e", "other"):
        await store.submit(make_job(name, owner="alice"), limits=NO_LIMITS, idempotency=repeated)
    assert await used(store) == Usage(jobs=5, input_bytes=20)
    job = worker.claim("q-test", ["test"])
    assert job is not None
    for _ in range(2):
        worker.succeed(job, (VIDEO,))
    failing = worker.claim("q-test", ["test"])
    assert failing is not None
    for _ in range(2):
        worker.fail(failing.id, failing.attempt, JobError("x", "y"))
    stopped = worker.claim("q-test", ["test"])
    assert stopped is not None
    for _ in range(2):
        await store.cancel(stopped.id)
    for _ in range(2):
        worker.finish_cancelled(stopped.id, stopped.attempt)
    await store.cancel("d")
    await store.delete("e")
    await store.delete("e")
    expected = Usage(
        jobs=5,
        succeeded=1,
        failed=1,
        cancelled=3,
        gpu_seconds=ran(client, "a", "b", "c"),
        input_bytes=20,
        result_bytes=12,
    )
    assert await used(store) == expected
    assert await used(store, "bob") == Usage()
    for name in "abc":
        gone = await store.delete(name)
        assert gone is not None
        await store.delete_record(gone)
    assert await used(store) == expected, "it outlives the jobs"


async def test_only_the_attempt_that_ends_a_job_is_charged(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    await store.submit(make_job("a", owner="alice"), limits=NO_LIMITS)

    def begin_long_ago() -> None:
        assert worker.claim("q-test", ["test"]) is not None
        client.hset("fg:job:a", "started_at", str(time.time() - 500))

    begin_long_ago()
    worker.requeue("a", 1)
    for _ in range(MAX_ATTEMPTS):
        assert await used(store) == Usage(jobs=1)
        begin_long_ago()
        client.set("fg:swept", time.time())
        client.zadd("fg:leases", {"a": 1})
        lost, _ = worker.sweep()
        assert lost == 1
    found = await used(store)
    assert (found.jobs, found.failed, found.gpu_seconds) == (1, 1, ran(client, "a"))
    assert 500 <= found.gpu_seconds < 510


async def test_a_time_with_an_exponent(store: ValkeyJobStore, client: redis.Redis) -> None:
    """One of a thousand numbers is written like this by Valkey itself."""
    worker = WorkerStore(client, "w")
    await store.submit(make_job("a", owner="alice"), limits=NO_LIMITS)
    job = worker.claim("q-test", ["test"])
    assert job is not None
    started = f"{time.time() - 50:.16e}".replace("e+09", "e+9")
    assert re.fullmatch(r"\d\.\d{16}e\+9", started)
    client.hset("fg:job:a", "started_at", started)
    worker.fail("a", 1, JobError("x", "y"))
    found = await used(store)
    assert 50 <= found.gpu_seconds < 60
    await store.expired.mark_files_removed([job])
    client.hset("fg:job:a", "finished_at", started)
    await store.expired.mark_files_removed([job])
    assert client.zscore("fg:records", "a") == pytest.approx(float(started))


async def test_a_damaged_start_and_a_clock_that_went_back_cost_nothing(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    for started in ("nan", "0x10", "1e999", str(time.time() + 3600)):
        await store.submit(make_job(started, owner="alice"), limits=NO_LIMITS)
        job = worker.claim("q-test", ["test"])
        assert job is not None
        client.hset(f"fg:job:{started}", "started_at", started)
        worker.fail(job.id, job.attempt, JobError("x", "y"))
    assert await used(store) == Usage(jobs=4, failed=4)


@pytest.mark.parametrize("damage", ["many", "", "1.5", str(2**63 - 1)])
async def test_damaged_sums_stop_nothing(store: ValkeyJobStore, client: redis.Redis, damage: str) -> None:
    """They are counted from there on; jobs wait, run and end."""
    day = int(time.time() // 86400)
    for name in ("jobs", "succeeded", "input_bytes", "microseconds", "result_bytes"):
        client.hset(f"fg:used:{day}:alice", name, damage)
    client.sadd(f"fg:used:{day}", "alice")
    if not damage.isdigit():
        assert await used(store) == Usage()
    worker = WorkerStore(client, "w")
    await store.submit(make_job("a", owner="alice", input_bytes=5), limits=Limits(owner_daily_gpu_seconds=60))
    job = worker.claim("q-test", ["test"])
    assert job is not None
    assert worker.succeed(job, (VIDEO,)) == "succeeded"
    assert asdict(await used(store)) == {
        **asdict(Usage(jobs=1, succeeded=1, input_bytes=5, result_bytes=VIDEO.size)),
        "gpu_seconds": ran(client, "a"),
    }


async def test_the_quota_of_a_day(store: ValkeyJobStore, client: redis.Redis) -> None:
    limits, worker = Limits(owner_daily_gpu_seconds=100), WorkerStore(client, "w")
    for name in ("a", "b"):
        await store.submit(make_job(name, owner="alice"), limits=limits)
    job = worker.claim("q-test", ["test"])
    assert job is not None
    client.hset(f"fg:job:{job.id}", "started_at", str(time.time() - 100))
    assert await store.check_admission("", "alice", limits=limits, idempotency=None) is None
    worker.succeed(job, (VIDEO,))
    with pytest.raises(QuotaReached, match=r"100\.\d s today, of the 100 s") as early:
        await store.check_admission("", "alice", limits=limits, idempotency=None)
    with pytest.raises(QuotaReached) as late:
        await store.submit(make_job("c", owner="alice"), limits=limits)
    for refusal in (early, late):
        assert refusal.value.retry_after == pytest.approx(86_400 - time.time() % 86_400, abs=5)
    waiting = worker.claim("q-test", ["test"])
    assert waiting is not None, "what was accepted before runs"
    assert waiting.id == "b"
    await store.submit(make_job("d", owner="bob"), limits=limits)
    # Tomorrow the count begins again.
    today = await store.usage.today()
    number = int(time.time() // 86_400)
    client.rename(f"fg:used:{number}:alice", f"fg:used:{number - 1}:alice")
    client.sadd(f"fg:used:{number - 1}", "alice")
    client.srem(f"fg:used:{number}", "alice")
    await store.submit(make_job("c", owner="alice"), limits=limits)
    report = await UsageService(store.usage).report(days=2)
    assert [(item.day, item.owner) for item in report.items] == [
        (today, "alice"),
        (today, "bob"),
        (today - timedelta(days=1), "alice"),
    ]
    assert report.total.jobs == 4
    assert report.total.gpu_seconds == report.items[-1].gpu_seconds
    yesterday = await UsageService(store.usage).report(day=today - timedelta(days=1), owner="alice")
    assert [asdict(item)["succeeded"] for item in yesterday.items] == [1]


async def test_it_is_kept_for_a_year(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.submit(make_job("a", owner="alice"), limits=NO_LIMITS)
    keys = cast("list[str]", client.keys("fg:used:*"))
    assert len(keys) == 2
    for key in keys:
        assert client.ttl(key) == pytest.approx(KEPT_DAYS * 86_400, abs=60)
