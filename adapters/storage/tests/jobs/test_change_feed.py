"""Watching jobs: no change is missed; 500 watchers share one subscription, and one read for each change."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
import redis

from framegate.core.errors import Unavailable
from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.core.registry import Registry
from framegate.core.testing import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryKeyStore,
    InMemorySecretStore,
    StaticMediaIngest,
    StaticVariantMaker,
)
from framegate.core.wiring import create_services
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.heartbeats import heartbeat
from tests.support.sample_jobs import make_job

WATCHERS, JOBS, BEATS = 500, 4, 16


def reads(client: redis.Redis) -> int:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hgetall", "hmget", "get"))


def at_rest(client: redis.Redis) -> int:
    """How much was read when nobody reads any more, half a second apart."""
    before = reads(client)
    while True:
        time.sleep(0.5)
        now = reads(client)
        if now == before:
            return now
        before = now


async def test_watchers_see_every_state(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.submit(make_job("seen"), limits=Limits())
    worker = WorkerStore(client, "w")
    seen: list[str] = []
    async with store.changes("seen") as ticks, aclosing(ticks):

        async def next_state() -> None:
            await asyncio.wait_for(anext(ticks), 60)
            job = await store.get("seen")
            assert job is not None
            seen.append(f"{job.state} {job.progress:.0%}")

        job = await asyncio.to_thread(worker.claim, "q-test", ["test"])
        assert job is not None
        await next_state()
        await asyncio.to_thread(heartbeat, worker, job.id, job.attempt, 0.5, "half")
        await next_state()
        await asyncio.to_thread(worker.succeed, job, ())
        await next_state()
    assert seen[-1] == "succeeded 100%"


async def test_watchers_survive_a_restart_of_valkey(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    store = ValkeyJobStore(connect_async(valkey.url))
    try:
        await store.submit(make_job("a"), limits=Limits())
        async with store.changes("a") as ticks:
            await anext(ticks)  # it listens
            valkey.stop()
            with pytest.raises(Unavailable):
                await store.get("a")
            valkey.start()
            await asyncio.wait_for(anext(ticks), 60)
            job = await store.get("a")
    finally:
        await store.close()
        valkey.stop()
    assert job is not None
    assert job.state == JobState.QUEUED


async def test_watchers_share_what_is_read(
    store: ValkeyJobStore, client: redis.Redis, tmp_path: Path
) -> None:
    service = create_services(
        registry=Registry({}),
        store=store,
        artifacts=InMemoryArtifactStore(tmp_path),
        media=StaticMediaIngest(),
        variants=StaticVariantMaker(),
        characters=InMemoryCharacterStore(),
        secrets=InMemorySecretStore(),
        keys=InMemoryKeyStore(),
        max_queued=0,
    ).jobs
    for number in range(JOBS):
        await store.submit(make_job(f"j{number}"), limits=Limits())
    workers = [WorkerStore(client, f"w{number}") for number in range(JOBS)]
    running = [worker.claim("q-test", ["test"]) for worker in workers]
    started = asyncio.Barrier(WATCHERS + 1)
    seen = [0.0] * WATCHERS

    async def watch(number: int) -> JobState:
        async with aclosing(service.watch(f"j{number % JOBS}")) as states:
            state = (await anext(states)).state
            await started.wait()
            async for job in states:
                seen[number], state = job.progress, job.state
        return state

    watching = [asyncio.create_task(watch(number)) for number in range(WATCHERS)]
    await started.wait()
    assert client.pubsub_numsub("fg:changed") == [("fg:changed", 1)]
    before = await asyncio.to_thread(at_rest, client)
    for beat in range(1, BEATS):
        for worker, job in zip(workers, running, strict=True):
            assert job is not None
            await asyncio.to_thread(heartbeat, worker, job.id, job.attempt, beat / BEATS)
        async with asyncio.timeout(60):
            while min(seen) < beat / BEATS:  # noqa: ASYNC110 # the state is another process's
                await asyncio.sleep(0.001)
    for worker, job in zip(workers, running, strict=True):
        assert job is not None
        await asyncio.to_thread(worker.succeed, job, ())
    assert {*await asyncio.gather(*watching)} == {JobState.SUCCEEDED}
    # A change is read by the script that makes it (once or twice), and once for all who watch.
    assert reads(client) - before <= 4 * JOBS * (BEATS + 1)
