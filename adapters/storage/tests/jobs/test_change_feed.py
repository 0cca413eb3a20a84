"""Watching jobs: no change is missed; 500 watchers share one subscription, and one read for each change."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
import redis

from framegate.core.errors import Unavailable, UnreadableRecord
from framegate.core.job_watches import JobWatches
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
from framegate.storage.connections import connect, connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.schema import NewerRecord
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
    async with aclosing(JobWatches(store).watch("seen")) as states, asyncio.timeout(60):

        async def next_state() -> None:
            job = await anext(states)
            assert job is not None
            assert job == await store.get("seen"), "what is known of it was not read again"
            seen.append(f"{job.state} {job.progress:.0%}")

        await next_state()
        job = await asyncio.to_thread(worker.claim, "q-test", ["test"])
        assert job is not None
        await next_state()
        await asyncio.to_thread(heartbeat, worker, job.id, job.attempt, 0.5, "half")
        await next_state()
        await asyncio.to_thread(worker.succeed, job, ())
        await next_state()
        assert [left async for left in states] == []
    assert seen == ["queued 0%", "running 0%", "running 50%", "succeeded 100%"]


async def test_watchers_survive_a_restart_of_valkey(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    store = ValkeyJobStore(connect_async(valkey.url))
    changes: asyncio.Queue[str | None] = asyncio.Queue()
    try:
        await store.submit(make_job("a"), limits=Limits())
        store.follow(changes.put_nowait)
        async with asyncio.timeout(60), aclosing(JobWatches(store).watch("a")) as states:
            assert await changes.get() is None  # it listens
            job = await anext(states)
            assert job is not None
            assert job.state == JobState.QUEUED
            valkey.stop()
            with pytest.raises(Unavailable):
                await store.get("a")
            valkey.start()
            assert await changes.get() is None
            with connect(valkey.url) as client:
                assert await asyncio.to_thread(WorkerStore(client, "w").claim, "q-test", ["test"])
            job = await anext(states)
    finally:
        await store.close()
        valkey.stop()
    assert job is not None
    assert job.state == JobState.RUNNING


async def test_a_job_with_the_id_of_another_is_read_as_a_whole(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await store.submit(make_job("again"), limits=Limits())
    first = await store.get("again")
    assert first is not None
    await store.delete("again")
    await store.delete_record(first)
    assert await store.refresh({"again": first, "gone": None}) == {"again": None, "gone": None}
    await store.submit(make_job("again", owner="bob"), limits=Limits())
    second = await store.get("again")
    assert await store.refresh({"again": first}) == {"again": second}
    assert second is not None
    assert second.owner == "bob"
    # What is damaged meanwhile is shown as `get` shows it; the others don't suffer from it.
    await store.submit(make_job("whole"), limits=Limits())
    client.hset("fg:job:again", "progress", "much")
    client.set("fg:job:text", "no hash")
    found = await store.refresh({"again": second, "whole": None})
    assert found == {"again": await store.get("again"), "whole": await store.get("whole")}
    client.hset("fg:job:again", "schema", 999)
    found = await store.refresh({"again": None, "whole": None})
    assert isinstance(found["again"], NewerRecord)
    assert found["whole"] == await store.get("whole")


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
    async with asyncio.timeout(20):
        while client.pubsub_numsub("fg:changed") == [("fg:changed", 0)]:  # noqa: ASYNC110 # another process's
            await asyncio.sleep(0.001)
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


async def test_a_key_that_is_no_job_ends_its_own_watches_alone(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Nor is it in the way of lists, and whoever asks for it learns what is wrong."""
    for job_id in ("good", "bad"):
        await store.submit(make_job(job_id, owner="alice"), limits=Limits())
    watches = JobWatches(store)
    async with aclosing(watches.watch("good")) as states, asyncio.timeout(60):
        await anext(states)
        client.set("fg:job:bad", "not a hash")
        later = asyncio.create_task(anext(states))
        async with aclosing(watches.watch("bad")) as bad:
            with pytest.raises(UnreadableRecord, match="not a hash"):
                await anext(bad)
        store._feed._announce(None)  # pyright: ignore[reportPrivateUsage]  # as every 15 s
        await store.cancel("good")
        job = await later
        assert job is not None
        assert job.state == JobState.CANCELLED
    with pytest.raises(UnreadableRecord, match="not a hash"):
        await store.get("bad")
    assert [job.id for job in await store.list(owner="alice", states=(), limit=9)] == ["good"]


async def test_watches_that_have_ended_follow_no_changes(store: ValkeyJobStore) -> None:
    for _ in range(3):
        async with aclosing(JobWatches(store).watch("none")) as states:
            assert await anext(states) is None
    assert store._feed._listeners == []  # pyright: ignore[reportPrivateUsage]
