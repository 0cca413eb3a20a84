"""Job records in Valkey: listing, limits under load, watching, retention."""

import asyncio
import errno
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar, cast

import pytest
import redis
import structlog
from dramatiq import Message
from msgspec.structs import replace

from framegate.core.errors import QueueFull, Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async, connect_for_tickets
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import DRAMATIQ_NAMESPACE
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.retention import Retention
from framegate.worker.broker import ACTOR_NAME, make_broker
from tests.support.sample_jobs import make_job

Result = TypeVar("Result")
WithStore = Callable[[Callable[[ValkeyJobStore], Awaitable[Result]]], Result]


def with_store(url: str, use: Callable[[ValkeyJobStore], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        store = ValkeyJobStore(connect_async(url))
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def submit(store: ValkeyJobStore, job: Job) -> None:
    await store.submit(job, limits=Limits())


def test_ticket_is_a_dramatiq_message(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """Our script writes what Dramatiq's own enqueue writes: the layout that we rely on."""
    with_store(valkey.url, lambda store: submit(store, make_job("a")))
    tickets = connect_for_tickets(valkey.url)
    broker = make_broker(tickets)
    broker.declare_queue("q-test")
    message: Message[None] = Message(
        queue_name="q-test", actor_name=ACTOR_NAME, args=("q-test",), kwargs={}, options={}
    )
    own = cast("Message[None]", broker.enqueue(message))
    stored = client.hgetall(f"{DRAMATIQ_NAMESPACE}:q-test.msgs")
    ours, theirs = (json.loads(stored[key]) for key in client.lrange(f"{DRAMATIQ_NAMESPACE}:q-test", 0, -1))
    assert ours.keys() == theirs.keys()
    assert {name: type(value) for name, value in ours.items()} == {n: type(v) for n, v in theirs.items()}
    received = list(filter(None, (next(broker.consume("q-test", prefetch=2, timeout=10)) for _ in "12")))
    assert received[0].args == ("q-test",)
    assert received[0].actor_name == own.actor_name
    consumer = broker.consume("q-test")
    consumer.ack(received[0])
    tickets.close()


def test_listing_is_newest_first_and_by_owner_and_state(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def use(store: ValkeyJobStore) -> tuple[list[str], list[str], list[str]]:
        for index in range(450):
            await submit(store, make_job(f"j{index}", owner="alice" if index % 3 else "bob"))
        await store.cancel("j3")
        everybodys = await store.list(owner=None, states=(), limit=420)
        bobs = await store.list(owner="bob", states=(), limit=3)
        cancelled = await store.list(owner="bob", states=[JobState.CANCELLED], limit=10)
        return [job.id for job in everybodys], [job.id for job in bobs], [job.id for job in cancelled]

    everybodys, bobs, cancelled = with_store(valkey.url, use)
    assert everybodys == [f"j{index}" for index in range(449, 29, -1)]
    assert bobs == ["j447", "j444", "j441"]
    assert cancelled == ["j3"]


def test_queue_cap_holds_under_64_submits_at_once(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def use(store: ValkeyJobStore) -> list[BaseException | Job]:
        return await asyncio.gather(
            *(store.submit(make_job(f"j{i}"), limits=Limits(max_queued=5)) for i in range(64)),
            return_exceptions=True,
        )

    outcomes = with_store(valkey.url, use)
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 59


def test_a_repeated_submit_of_the_same_job_is_one_job(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """The client library repeats a call whose answer was lost."""
    job = make_job("once")

    async def use(store: ValkeyJobStore) -> int:
        await submit(store, job)
        await submit(store, job)
        return (await store.counts()).queued

    assert with_store(valkey.url, use) == 1


def test_watchers_see_every_state(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def use(store: ValkeyJobStore) -> list[str]:
        await submit(store, make_job("seen"))
        leases = WorkerStore(client, "w")
        seen: list[str] = []
        async with store.changes("seen") as ticks, aclosing(ticks):

            async def next_state() -> None:
                await asyncio.wait_for(anext(ticks), 5)
                job = await store.get("seen")
                assert job is not None
                seen.append(f"{job.state} {job.progress:.0%}")

            job = await asyncio.to_thread(leases.claim, "q-test", ["test"])
            assert job is not None
            await next_state()
            await asyncio.to_thread(leases.beat, job.id, job.attempt, 0.5, "half")
            await next_state()
            await asyncio.to_thread(leases.succeed, job, ())
            await next_state()
        return seen

    assert with_store(valkey.url, use)[-1] == "succeeded 100%"


def test_watchers_survive_a_restart_of_valkey(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir)
    valkey.start()

    async def use(store: ValkeyJobStore) -> Job | None:
        await submit(store, make_job("a"))
        async with store.changes("a") as ticks:
            valkey.stop()
            with pytest.raises(Unavailable):
                await store.get("a")
            valkey.start()
            await asyncio.wait_for(anext(ticks), 15)
            return await store.get("a")

    try:
        job = with_store(valkey.url, use)
    finally:
        valkey.stop()
    assert job is not None
    assert job.state == JobState.QUEUED


def test_retention_removes_files_then_records(
    valkey: EmbeddedValkey, client: redis.Redis, data_dir: Path
) -> None:
    artifacts = FolderStore(data_dir)

    async def use(store: ValkeyJobStore) -> None:
        characters = ValkeyCharacterStore(connect_async(valkey.url))
        await submit(store, make_job("old", owner="alice", result_name="boat.mp4"))
        leases = WorkerStore(client, "w")
        job = await asyncio.to_thread(leases.claim, "q-test", ["test"])
        assert job is not None
        made = artifacts.workdir("x") / "video.mp4"
        made.write_bytes(b"video")
        size = artifacts.put(made, "results/old/1-0.mp4")
        artifact = Artifact(MediaKind.VIDEO, "results/old/1-0.mp4", "video/mp4", size, 64, 64)
        await asyncio.to_thread(leases.succeed, job, (artifact,))

        kept = Retention(store, characters, artifacts, files_for=60, records_for=60)
        assert await kept.sweep() == 0
        assert artifacts.path(artifact.key) is not None

        await asyncio.sleep(0.01)
        files_due = Retention(store, characters, artifacts, files_for=0, records_for=60)
        assert await files_due.sweep() == 1
        assert artifacts.path(artifact.key) is None
        assert await store.get("old") is not None
        assert await store.find_by_lookup_label("alice", "boat.mp4") == "old"
        assert await store.find_shared(job.share_id) == "old", "so that it can be told what happened to it"

        await Retention(store, characters, artifacts, files_for=0, records_for=0).sweep()
        assert await store.get("old") is None
        assert await store.find_by_lookup_label("alice", "boat.mp4") is None
        assert await store.find_shared(job.share_id) is None
        await characters.close()

    with_store(valkey.url, use)
    assert left_behind(client) == set()


def left_behind(client: redis.Redis) -> set[str]:
    """The keys that jobs have left, but for those of which there is one, or one of each queue, and those
    that expire in a day."""
    kept = (
        "fg:installation",
        "fg:seq",
        "fg:swept",
        "fg:tickets",
        "fg:turns",
        "fg:queues",
        "fg:served:",
        "fg:removed:",
        DRAMATIQ_NAMESPACE,
    )
    return {str(key) for key in client.keys("fg:*") if not str(key).startswith(kept)}


def test_retention_finishes_what_a_deletion_began(
    valkey: EmbeddedValkey, client: redis.Redis, data_dir: Path
) -> None:
    """Deleted while it ran, or the process that deleted it died: files and record go all the same."""
    artifacts = FolderStore(data_dir)

    def keep(key: str) -> None:
        path = artifacts.workdir(key.replace("/", "-")) / "file"
        path.write_bytes(b"film")
        artifacts.put(path, key)

    async def use(store: ValkeyJobStore) -> None:
        characters = ValkeyCharacterStore(connect_async(valkey.url))
        retention = Retention(store, characters, artifacts, files_for=3600, records_for=3600)
        for name in ("running", "ended", "waiting"):
            job = make_job(name, owner="alice", collection="videos", result_name=name)
            image = MediaRef(MediaKind.IMAGE, f"inputs/{name}", 64, 64)
            keep(image.key)
            await submit(store, replace(job, request=replace(job.request, image=image)))
        running, ended = [WorkerStore(client, name).claim("q-test", ["test"]) for name in ("w1", "w2")]
        assert running is not None
        assert ended is not None
        keep("results/ended.mp4")
        film = Artifact(MediaKind.VIDEO, "results/ended.mp4", "video/mp4", 4, 64, 64)
        WorkerStore(client, "w2").succeed(ended, (film,))
        for name in ("running", "ended", "waiting"):
            assert await store.delete(name)
        assert await retention.sweep() == 2
        assert {key for key in ("running", "ended", "waiting") if artifacts.path(f"inputs/{key}")} == {
            "running"
        }
        assert artifacts.path("results/ended.mp4") is None
        assert WorkerStore(client, "w1").succeed(running, ()) == JobState.CANCELLED
        assert await retention.sweep() == 1
        assert artifacts.path("inputs/running") is None
        await characters.close()

    with_store(valkey.url, use)
    assert left_behind(client) == set()


class Stuck(FolderStore):
    """One of its files can't be removed."""

    def delete(self, key: str) -> None:
        if key == "results/0.mp4":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().delete(key)


def test_a_file_that_can_not_be_removed_stops_nothing(
    valkey: EmbeddedValkey, client: redis.Redis, data_dir: Path
) -> None:
    artifacts = Stuck(data_dir)

    async def use(store: ValkeyJobStore) -> None:
        characters = ValkeyCharacterStore(connect_async(valkey.url))
        leases = WorkerStore(client, "w")
        for number in range(3):
            await submit(store, make_job(str(number)))
            job = leases.claim("q-test", ["test"])
            assert job is not None
            path = artifacts.workdir("x") / "file"
            path.write_bytes(b"film")
            artifacts.put(path, f"results/{number}.mp4")
            leases.succeed(job, (Artifact(MediaKind.VIDEO, f"results/{number}.mp4", "video/mp4", 4, 64, 64),))
        with structlog.testing.capture_logs() as logs:
            await Retention(store, characters, artifacts, files_for=-1, records_for=-1).sweep()
        assert [line["event"] for line in logs] == ["file_not_removed", "files_removed"]
        await characters.close()

    with_store(valkey.url, use)
    assert list(artifacts.keys_before(time.time() + 60)) == ["results/0.mp4"]
    assert left_behind(client) == set()


def test_what_is_removed_twice_at_once_is_not_remembered(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def use(store: ValkeyJobStore) -> None:
        await submit(store, make_job("a"))
        job = await store.cancel("a")
        assert job is not None
        await store.forget(job)
        await store.files_removed(job)

    with_store(valkey.url, use)
    assert left_behind(client) == set()


def test_sweep_replaces_a_lost_ticket(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with_store(valkey.url, lambda store: submit(store, make_job("a")))
    client.delete(f"{DRAMATIQ_NAMESPACE}:q-test", f"{DRAMATIQ_NAMESPACE}:q-test.msgs")
    leases = WorkerStore(client, "w")
    assert leases.sweep() == (0, 1)
    assert leases.sweep() == (0, 0)
    assert client.llen(f"{DRAMATIQ_NAMESPACE}:q-test") == 1


def test_lease_lets_a_dead_workers_job_go(
    valkey: EmbeddedValkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framegate.storage.jobs.worker_store.LEASE_SECONDS", 0.2)
    with_store(valkey.url, lambda store: submit(store, make_job("a")))
    dead, alive = WorkerStore(client, "dead"), WorkerStore(client, "alive")
    job = dead.claim("q-test", ["test"])
    assert job is not None
    assert alive.sweep()[0] == 0
    deadline = time.monotonic() + 5
    while alive.sweep()[0] == 0:
        assert time.monotonic() < deadline
    again = alive.claim("q-test", ["test"])
    assert again is not None
    assert (again.id, again.attempt) == ("a", 2)
    assert dead.succeed(job, ()) is None, "the dead worker's result is not wanted any more"
