"""The disk quota: the oldest finished jobs lose their files first, and nothing else is touched."""

import asyncio
from typing import cast

import pytest
import redis
import structlog

from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage import disk_quota
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.disk_quota import DiskQuota
from framegate.storage.jobs import expiry
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job

SIZE = 100


class Jobs:
    """Makes jobs whose results have `SIZE` bytes."""

    def __init__(self, store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore) -> None:
        self._store, self._client, self._artifacts = store, client, artifacts
        self.worker = WorkerStore(client, "w")

    async def finish(self, *names: str) -> None:
        for name in names:
            await self._store.submit(make_job(name, owner="alice"), limits=Limits())
            job = self.worker.claim("q-test", ["test"])
            assert job is not None
            made = self._artifacts.workdir(name) / "out"
            made.write_bytes(b"x" * SIZE)
            key = f"results/{name}/1-0.mp4"
            size = self._artifacts.put(made, key)
            self.worker.succeed(job, (Artifact(MediaKind.VIDEO, key, "video/mp4", size, 64, 64),))

    async def submit(self, name: str, input_bytes: int) -> None:
        await self._store.submit(make_job(name, input_bytes=input_bytes), limits=Limits())

    def kept(self, *names: str) -> str:
        """Return which of the jobs still have their files."""
        return "".join(name for name in names if self._artifacts.path(f"results/{name}/1-0.mp4") is not None)


@pytest.fixture
def jobs(store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore) -> Jobs:
    return Jobs(store, client, artifacts)


async def test_the_oldest_files_go_first_and_records_stay(
    store: ValkeyJobStore, artifacts: FolderStore, jobs: Jobs
) -> None:
    await jobs.finish(*"abcde")
    with structlog.testing.capture_logs() as logs:
        assert await DiskQuota(store, artifacts, 250).enforce() == 3
    assert jobs.kept(*"abcde") == "de"
    assert await store.expired.stored_bytes() == 200
    assert [line["jobs"] for line in logs if line["event"] == "files_removed"] == [3]
    for name in "abcde":
        found = await store.get(name)
        assert found is not None
        assert found.state == JobState.SUCCEEDED
    assert await DiskQuota(store, artifacts, 200).enforce() == 0, "it is not above it"
    assert await DiskQuota(store, artifacts, 0).enforce() == 0, "no limit"
    await jobs.finish("f")
    assert await DiskQuota(store, artifacts, 250).enforce() == 1
    assert jobs.kept(*"abcdef") == "ef"


async def test_retention_keeps_the_quota_and_still_removes_records(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    jobs: Jobs,
) -> None:
    await jobs.finish(*"abc")
    retention = Retention(store, characters, artifacts, files_for=3600, records_for=7200, max_bytes=SIZE)
    await retention.remove_expired()
    assert jobs.kept(*"abc") == "c"
    assert client.zrange("fg:records", 0, -1) == ["a", "b"]
    await asyncio.sleep(0.01)
    await Retention(store, characters, artifacts, files_for=0, records_for=0).remove_expired()
    assert await store.get("a") is None


async def test_what_waits_and_runs_keeps_its_files(
    store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore, jobs: Jobs
) -> None:
    await jobs.finish("a")
    await jobs.submit("running", 500)
    assert jobs.worker.claim("q-test", ["test"]) is not None
    await jobs.submit("waiting", 500)
    quota = DiskQuota(store, artifacts, 600)
    with structlog.testing.capture_logs() as logs:
        assert await quota.enforce() == 1
        assert await quota.enforce() == 0
    said = [(line["event"], line.get("excess"), line.get("reason")) for line in logs]
    assert said == [
        ("job_files_removed", None, "storage.max_bytes"),
        ("files_removed", None, "storage.max_bytes"),
        ("storage_quota_exceeded", 400, None),
    ], "it is said once"
    assert await store.expired.stored_bytes() == 1000
    for name in ("running", "waiting"):
        assert client.hget(f"fg:job:{name}", "stored") == "500"


async def test_one_host_at_a_time(store: ValkeyJobStore, artifacts: FolderStore, jobs: Jobs) -> None:
    await jobs.finish(*"abc")
    async with store.expired.quota_turn() as mine:
        assert mine
        assert await DiskQuota(store, artifacts, SIZE).enforce() == 0
    results = await asyncio.gather(*(DiskQuota(store, artifacts, SIZE).enforce() for _ in range(5)))
    assert sum(results) == 2
    assert jobs.kept(*"abc") == "c"


async def test_what_cannot_be_removed_is_not_in_the_way(
    store: ValkeyJobStore,
    client: redis.Redis,
    artifacts: FolderStore,
    jobs: Jobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    await jobs.finish(*"abcdef")
    for name in "abc":
        client.hset(f"fg:job:{name}", "schema", "99")  # a later version wrote it
    assert await DiskQuota(store, artifacts, 4 * SIZE).enforce() == 2
    assert jobs.kept(*"abcdef") == "abcf"
    await jobs.finish("g")
    monkeypatch.setattr(disk_quota, "MAX_BATCHES", 1)
    assert await DiskQuota(store, artifacts, 4 * SIZE).enforce() == 0, "the work of a sweep is bounded"


async def test_jobs_without_files_are_not_in_the_way(
    store: ValkeyJobStore,
    client: redis.Redis,
    artifacts: FolderStore,
    jobs: Jobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many were cancelled or failed since the oldest files were made."""
    monkeypatch.setattr(expiry, "BATCH", 2)
    monkeypatch.setattr(disk_quota, "MAX_BATCHES", 2)
    for number in range(6):
        await jobs.submit(f"none-{number}", 0)
        await store.cancel(f"none-{number}")
    await jobs.finish(*"ab")
    client.hset("fg:job:a", "stored", "-1e5")  # damaged: nothing is known of its files
    quota = DiskQuota(store, artifacts, SIZE - 1)
    assert [await quota.enforce() for _ in range(2)] == [0, 1]
    assert jobs.kept(*"ab") == "a"
    assert client.zrange("fg:records", 0, -1) == [*(f"none-{number}" for number in range(6)), "b"]


async def test_it_counts_what_was_there_before_and_stays_right(
    store: ValkeyJobStore, client: redis.Redis, artifacts: FolderStore, jobs: Jobs
) -> None:
    await jobs.finish("a")
    await jobs.submit("b", 7)
    assert client.get("fg:stored") is None, "nobody has asked yet"
    assert await store.expired.stored_bytes() == 107
    await store.delete("b")
    await jobs.finish("c")
    assert cast("str", client.get("fg:stored")) == "200"
    client.expire("fg:stored", 80000)  # it is old, and an earlier version has changed it without a word
    client.hset("fg:job:a", "stored", "50")
    assert await store.expired.stored_bytes() == 150


async def test_a_long_count_is_done_in_parts(store: ValkeyJobStore, client: redis.Redis, jobs: Jobs) -> None:
    for number in range(450):
        await jobs.submit(f"job-{number}", 2)
    script = store.expired._stored_bytes  # pyright: ignore[reportPrivateUsage]  # one call of it
    found = [await script(keys=["fg:"]) for _ in range(2)]
    assert found == [None, None]
    await store.delete("job-0")  # already counted
    await store.delete("job-449")  # yet to be counted
    await jobs.submit("late", 5)
    assert await store.expired.stored_bytes() == 448 * 2 + 5
