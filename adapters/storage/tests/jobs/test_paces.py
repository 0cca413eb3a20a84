"""How fast models are, noted in the step in which their jobs succeed."""

import pytest
import redis
from msgspec.structs import replace

from framegate.core.estimates import work_of
from framegate.core.ports import Limits, ModelPace
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job


async def run(store: ValkeyJobStore, client: redis.Redis, name: str, seconds: float) -> None:
    await store.submit(make_job(name), limits=Limits())
    worker = WorkerStore(client, "w1")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    for _ in range(2):  # a repeat counts once
        worker.succeed(job, (), seconds=seconds)


async def pace(store: ValkeyJobStore) -> ModelPace:
    [found] = (await store.model_paces()).values()
    return found


async def test_they_follow_what_jobs_take(store: ValkeyJobStore, client: redis.Redis) -> None:
    assert await store.model_paces() == {}
    await run(store, client, "unknown", 0.0)
    assert await store.model_paces() == {}
    await run(store, client, "first", 10.0)
    first = await pace(store)
    assert (first.job_seconds, first.jobs) == (10.0, 1)
    assert first.seconds_per_unit == pytest.approx(10 / work_of(make_job("first")))
    for number in range(20):
        await run(store, client, f"later-{number}", 20.0)
    later = await pace(store)
    assert later.job_seconds == pytest.approx(20, rel=0.05)
    assert later.seconds_per_unit == pytest.approx(2 * first.seconds_per_unit, rel=0.05)
    await run(store, client, "outlier", 86_400.0)
    assert (await pace(store)).job_seconds < 2 * later.job_seconds


@pytest.mark.parametrize("damage", ["", "nan", "[]", '["x", 1, 1]', "[-1, 1, 1]", '{"a": 1}', "[0, 0, 0]"])
async def test_a_damaged_one_is_replaced(store: ValkeyJobStore, client: redis.Redis, damage: str) -> None:
    client.hset(f"{PREFIX}paces", make_job("job").served_by, damage)
    await store.model_paces()
    await run(store, client, "job", 10.0)
    assert (await pace(store)).job_seconds == 10


async def test_jobs_that_do_not_succeed_leave_none(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.submit(replace(make_job("job")), limits=Limits())
    job = WorkerStore(client, "w1").claim("q-test", ["test"])
    assert job is not None
    await store.cancel(job.id)
    WorkerStore(client, "w1").succeed(job, (), seconds=10.0)
    assert await store.model_paces() == {}
