"""Retention: files go first, then records, and nothing is left of either."""

import asyncio
import errno
import os
import time
from pathlib import Path

import redis
import structlog
from msgspec.structs import replace

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs.records import OLD_TICKETS, PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job


async def submit(store: ValkeyJobStore, job: Job) -> None:
    await store.submit(job, limits=Limits())


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
        f"{PREFIX}{OLD_TICKETS}",
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
    assert list(artifacts.keys_before(time.time() + 60)) == ["results/0.mp4"]
    assert left_behind(client) == set()


async def test_what_is_removed_twice_at_once_is_not_remembered(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, make_job("a"))
    job = await store.cancel("a")
    assert job is not None
    await store.delete_record(job)
    await store.mark_files_removed(job)
    assert left_behind(client) == set()
