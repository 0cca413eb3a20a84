"""Retention: files go first, then records, and nothing is left of either."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.errors import Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs import expiry
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.orphans import remove_orphans
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job


async def submit(store: ValkeyJobStore, job: Job) -> None:
    await store.submit(job, limits=Limits())


def left_behind(client: redis.Redis) -> set[str]:
    """The keys that jobs have left, but for those of which there is one, or one of each queue, those that
    expire in a day, and usage."""
    kept = (
        "fg:installation",
        "fg:seq",
        "fg:swept",
        "fg:mended",
        "fg:tickets",
        "fg:turns",
        "fg:queues",
        "fg:served:",
        "fg:removed:",
        "fg:used:",
        f"{PREFIX}dq",
    )
    return {str(key) for key in client.keys("fg:*") if not str(key).startswith(kept)}


async def test_retention_removes_files_then_records(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
) -> None:
    await submit(store, make_job("old", owner="alice", result_name="boat.mp4"))
    worker = WorkerStore(client, "w")
    job = await asyncio.to_thread(worker.claim, "q-test", ["test"])
    assert job is not None
    made = artifacts.workdir("x") / "video.mp4"
    made.write_bytes(b"video")
    size = artifacts.put(made, "results/old/1-0.mp4")
    artifact = Artifact(MediaKind.VIDEO, "results/old/1-0.mp4", "video/mp4", size, 64, 64)
    await asyncio.to_thread(worker.succeed, job, (artifact,))

    kept = Retention(store, characters, artifacts, files_for=60, records_for=60)
    assert await kept.remove_expired() == 0
    assert artifacts.path(artifact.key) is not None

    await asyncio.sleep(0.01)
    files_due = Retention(store, characters, artifacts, files_for=0, records_for=60)
    assert await files_due.remove_expired() == 1
    assert artifacts.path(artifact.key) is None
    assert await store.get("old") is not None
    assert await store.find_by_lookup_label("alice", "boat.mp4") == "old"
    assert await store.find_shared(job.share_id) == "old", "so that it can be told what happened to it"

    await Retention(store, characters, artifacts, files_for=0, records_for=0).remove_expired()
    assert await store.get("old") is None
    assert await store.find_by_lookup_label("alice", "boat.mp4") is None
    assert await store.find_shared(job.share_id) is None
    assert left_behind(client) == set()


async def test_retention_finishes_what_a_deletion_began(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
) -> None:
    """Deleted while it ran, or the process that deleted it died: both files and record go."""

    def keep(key: str) -> None:
        path = artifacts.workdir(key.replace("/", "-")) / "file"
        path.write_bytes(b"film")
        artifacts.put(path, key)

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
    assert await retention.remove_expired() == 2
    assert {key for key in ("running", "ended", "waiting") if artifacts.path(f"inputs/{key}")} == {"running"}
    assert artifacts.path("results/ended.mp4") is None
    assert WorkerStore(client, "w1").succeed(running, ()) == JobState.CANCELLED
    assert await retention.remove_expired() == 1
    assert artifacts.path("inputs/running") is None
    assert left_behind(client) == set()


class Stuck(FolderStore):
    """One of its files can't be removed."""

    def delete(self, key: str) -> None:
        if key == "results/0.mp4":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().delete(key)


async def test_a_file_that_can_not_be_removed_stops_nothing(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    data_dir: Path,
) -> None:
    artifacts = Stuck(data_dir)
    worker = WorkerStore(client, "w")
    for number in range(3):
        await submit(store, make_job(str(number)))
        job = worker.claim("q-test", ["test"])
        assert job is not None
        path = artifacts.workdir("x") / "file"
        path.write_bytes(b"film")
        artifacts.put(path, f"results/{number}.mp4")
        worker.succeed(job, (Artifact(MediaKind.VIDEO, f"results/{number}.mp4", "video/mp4", 4, 64, 64),))
    with structlog.testing.capture_logs() as logs:
        await Retention(store, characters, artifacts, files_for=-1, records_for=-1).remove_expired()
    removed = [("job_files_removed", number) for number in range(3)]
    removed += [("job_record_removed", number) for number in range(3)]
    assert [line for line in logs if "actor" in line] == [
        {"event": event, "actor": "retention", "job_id": str(number), "owner": "", "log_level": "info"}
        for event, number in removed
    ]
    assert [line["event"] for line in logs if "actor" not in line] == ["file_not_removed", "files_removed"]
    assert list(artifacts.keys_older_than(-60)) == ["results/0.mp4"]
    assert left_behind(client) == set()


async def test_what_is_removed_twice_at_once_is_not_remembered(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, make_job("a"))
    job = await store.cancel("a")
    assert job is not None
    await store.delete_record(job)
    await store.expired.mark_files_removed([job])
    assert left_behind(client) == set()


# An id that is used again.


def store_file(artifacts: FolderStore, key: str) -> None:
    path = artifacts.workdir(key.replace("/", "-")) / "file"
    path.write_bytes(b"film")
    artifacts.put(path, key)


async def make_film(store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore, name: str) -> Job:
    """Submit a job, let a worker store its film, and return it as it is then."""
    await submit(store, make_job(name, owner="alice"))
    worker = WorkerStore(client, "worker-a")
    job = await asyncio.to_thread(worker.claim, "q-test", ["test"])
    assert job is not None
    key = f"results/{name}/{job.attempt_name}-0.mp4"
    store_file(artifacts, key)
    film = Artifact(MediaKind.VIDEO, key, "video/mp4", 4, 64, 64)
    assert await asyncio.to_thread(worker.succeed, job, (film,)) == JobState.SUCCEEDED
    ended = await store.get(name)
    assert ended is not None
    return ended


async def test_an_id_used_again_while_retention_works_is_another_job(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, data_dir: Path
) -> None:
    """Its owner's deletion ends, and its owner uses the id again, just when retention removes the files."""
    loop = asyncio.get_running_loop()
    later: list[Job] = []

    class UsedAgain(FolderStore):
        def delete(self, key: str) -> None:
            super().delete(key)
            if not later:
                asyncio.run_coroutine_threadsafe(self.use_again(), loop).result(30)

        async def use_again(self) -> None:
            await store.delete_record(first)
            later.append(await make_film(store, client, self, "film"))

    artifacts = UsedAgain(data_dir)
    first = await make_film(store, client, artifacts, "film")
    assert await store.delete("film") is not None
    retention = Retention(store, characters, artifacts, files_for=3600, records_for=3600)
    for _ in range(2):
        async with asyncio.timeout(30):
            await retention.remove_expired()
    (second,) = later
    assert await store.get("film") == second
    assert first.artifacts[0].key != second.artifacts[0].key, (
        "the same worker made both, at its first attempt"
    )
    assert [artifacts.path(job.artifacts[0].key) is not None for job in (first, second)] == [False, True]
    due = Retention(store, characters, artifacts, files_for=-1, records_for=-1)
    assert await due.remove_expired() == 1, "retention knows when it ends"
    assert left_behind(client) == set()


@pytest.mark.parametrize("ended", [True, False])
async def test_a_deletion_that_comes_late_leaves_the_later_job(
    store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore, ended: bool
) -> None:
    first = await make_film(store, client, artifacts, "film")
    assert await store.delete("film") is not None
    await store.delete_record(first)  # by retention
    second = await make_film(store, client, artifacts, "film") if ended else None
    if not ended:
        await submit(store, make_job("film", owner="alice"))
    before = client.hgetall("fg:job:film"), client.zrange("fg:finished", 0, -1, withscores=True)
    await store.delete_record(first)
    await store.expired.mark_files_removed([first])
    assert (client.hgetall("fg:job:film"), client.zrange("fg:finished", 0, -1, withscores=True)) == before
    artifacts.delete_many(first.files)
    assert second is None or artifacts.path(second.artifacts[0].key)


async def test_what_an_earlier_version_left_in_the_indexes_is_dropped(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, artifacts: FolderStore
) -> None:
    """It removes a record and adds to an index of an id that is gone, or used again, by then."""
    await submit(store, make_job("waiting"))
    for index in ("finished", "records"):
        client.zadd(f"fg:{index}", {"gone": 0, "waiting": 0})
    assert await Retention(store, characters, artifacts, files_for=60, records_for=60).remove_expired() == 0
    assert await store.get("waiting")
    assert [client.zcard(f"fg:{index}") for index in ("finished", "records")] == [0, 0]


# Several hosts, and what can't be dealt with.


async def test_hosts_share_what_is_due_and_return_what_they_did_not_do(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await submit(store, make_job(f"j{number}"))
        await store.cancel(f"j{number}")
    monkeypatch.setattr(expiry, "BATCH", 2)
    monkeypatch.setattr(expiry, "LEASE_SECONDS", 0.5)
    batches = [[job_id for job_id, _ in await store.expired.lease_files(0)] for _ in range(4)]
    assert batches == [["j0", "j1"], ["j2", "j3"], ["j4"], []]
    await store.expired.mark_files_removed([job async for job in numbered(store, "j0", "j3")])
    returned: list[str] = []
    async with asyncio.timeout(30):
        while len(returned) < 3:
            returned += [job_id for job_id, _ in await store.expired.lease_files(0)]
            await asyncio.sleep(0.02)
    assert sorted(returned) == ["j1", "j2", "j4"], "the host that had them has died"
    assert client.zrange("fg:records", 0, -1) == ["j0", "j3"]


async def numbered(store: ValkeyJobStore, *names: str) -> AsyncIterator[Job]:
    for name in names:
        job = await store.get(name)
        assert job is not None
        yield job


class Away(FolderStore):
    """Can't be reached, as a bucket."""

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        raise Unavailable("The storage can't be reached right now; try again shortly.")


async def test_files_that_can_not_be_reached_are_removed_later(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "LEASE_SECONDS", 0.2)
    job = await make_film(store, client, artifacts, "film")
    away = Retention(store, characters, Away(data_dir), files_for=0, records_for=0)
    with pytest.raises(Unavailable):
        await away.remove_expired()
    assert await store.get("film") == job
    again = Retention(store, characters, artifacts, files_for=0, records_for=0)
    removed = 0
    async with asyncio.timeout(30):
        while not removed:
            await asyncio.sleep(0.05)
            removed = await again.remove_expired()
    assert artifacts.path(job.artifacts[0].key) is None
    assert left_behind(client) == set()


async def test_a_damaged_record_is_removed_with_its_files(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, artifacts: FolderStore
) -> None:
    films = [await make_film(store, client, artifacts, name) for name in ("damaged", "sound")]
    client.hset("fg:job:damaged", mapping={"job": '{"id":', "artifacts": "[1", "finished_at": "never"})
    due = Retention(store, characters, artifacts, files_for=-1, records_for=-1)
    assert await due.remove_expired() == 2
    assert [artifacts.path(job.artifacts[0].key) for job in films] == [None, None]
    assert left_behind(client) == set()


# Clocks.


@pytest.fixture
def two_hours_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this host's clock be two hours ahead of Valkey's and of the file system's."""
    own = time.time
    monkeypatch.setattr(time, "time", lambda: own() + 7200)


async def test_an_api_s_clock_removes_nothing(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    two_hours_ahead: None,
) -> None:
    job = await make_film(store, client, artifacts, "film")
    unknown = f"inputs/{'0a' * 16}.png"
    store_file(artifacts, unknown)
    retention = Retention(store, characters, artifacts, files_for=3600, records_for=3600)
    assert await retention.remove_expired() == 0
    assert await remove_orphans(store, characters, artifacts) == 0
    assert await store.get("film") == job
    assert artifacts.path(job.artifacts[0].key)
    assert artifacts.path(unknown)
    seconds, _ = client.time()
    assert abs(job.created_at - seconds) < 60, "all its times are Valkey's"


async def test_a_job_has_the_times_of_one_clock(
    store: ValkeyJobStore, client: redis.Redis, two_hours_ahead: None
) -> None:
    made = await store.submit(make_job("j"), limits=Limits())
    claimed = await asyncio.to_thread(WorkerStore(client, "w").claim, "q-test", ["test"])
    assert claimed is not None
    assert claimed.started_at is not None
    assert made.created_at == claimed.created_at <= claimed.started_at
    assert made.seq == claimed.seq > 0


async def test_what_ended_in_the_future_ended_now(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, artifacts: FolderStore
) -> None:
    """Valkey's clock went back by a day."""
    await make_film(store, client, artifacts, "film")
    tomorrow = time.time() + 86_400
    client.zadd("fg:finished", {"film": tomorrow})
    client.hset("fg:job:film", "finished_at", tomorrow)
    retention = Retention(store, characters, artifacts, files_for=0, records_for=0)
    assert await retention.remove_expired() == 1
    assert left_behind(client) == set()
