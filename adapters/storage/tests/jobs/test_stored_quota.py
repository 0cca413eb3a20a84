"""The sum of what an owner stores, as it is made again while jobs come and go."""

from typing import cast

import pytest
import redis

from framegate.core.errors import QuotaReached
from framegate.core.ports import Limits
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from tests.support.sample_jobs import make_job

JOBS = 450
AN_HOUR_OLD = 80_000
"""Seconds for which the sum is still kept then."""


@pytest.fixture
async def wrong_sum(store: ValkeyJobStore, client: redis.Redis) -> None:
    """Let alice store ten bytes for each of her jobs, and the sum say more, as after removals by 0.1."""
    for number in range(JOBS):
        await store.submit(make_job(f"j{number}", owner="alice", input_bytes=10), limits=Limits())
    client.set(f"{PREFIX}stored:alice", 99_999, ex=AN_HOUR_OLD)


async def stores_less_than(store: ValkeyJobStore, limit: int) -> bool:
    try:
        await store.check_admission("", "alice", limits=Limits(owner_max_stored=limit), idempotency=None)
    except QuotaReached:
        return False
    return True


@pytest.mark.usefixtures("wrong_sum")
async def test_the_sum_is_made_again_while_jobs_come_and_go(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    assert not await stores_less_than(store, 10 * JOBS + 1)
    # One that is counted already, one that is not, and a new one.
    await store.delete("j0")
    await store.delete(f"j{JOBS - 1}")
    await store.submit(make_job("new", owner="alice", input_bytes=7), limits=Limits())
    assert not await stores_less_than(store, 10 * JOBS + 1)
    assert await stores_less_than(store, 10 * JOBS + 1)
    assert client.get(f"{PREFIX}stored:alice") == str(10 * (JOBS - 2) + 7)
    assert not client.exists(f"{PREFIX}recount:alice")
    assert not await stores_less_than(store, 10 * (JOBS - 2) + 7)


@pytest.mark.usefixtures("wrong_sum")
async def test_no_check_looks_at_all_jobs(store: ValkeyJobStore, client: redis.Redis) -> None:
    for _ in range(5):
        client.config_resetstat()
        await stores_less_than(store, 1)
        stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
        assert sum(entry["calls"] for entry in stats.values()) < 220
    client.delete(f"{PREFIX}stored:alice")
    assert not await stores_less_than(store, 10 * JOBS), "without any sum it is made at once"
    assert await stores_less_than(store, 10 * JOBS + 1)
