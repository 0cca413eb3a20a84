"""Files that no record names, in pages, beside those of jobs in every state."""

import asyncio
from pathlib import Path

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage import orphans
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs import stored_files
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.orphans import remove_orphans
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job

WORKER = "0123456789abcdef"


@pytest.fixture(params=["small pages", "one page"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small pages":
        monkeypatch.setattr(orphans, "PAGE", 3)
        monkeypatch.setattr(orphans, "MAX_INPUTS", 2)
        monkeypatch.setattr(stored_files, "PAGE", 2)


def store_files(artifacts: FolderStore, *keys: str) -> None:
    for key in keys:
        path = artifacts.workdir("making") / "file"
        path.write_bytes(b"film")
        artifacts.put(path, key)


def all_files(artifacts: FolderStore) -> set[str]:
    return set(artifacts.keys_older_than(-60))


def input_key(number: int) -> str:
    return f"inputs/{number:032x}.png"


async def submit(store: ValkeyJobStore, name: str, number: int, *, owner: str = "") -> Job:
    job = make_job(name, input_bytes=4, owner=owner)
    assert job.request.image is not None
    image = replace(job.request.image, key=input_key(number))
    request = replace(job.request, image=image, num_partial_images=1)
    return await store.submit(replace(job, request=request), limits=Limits())


async def test_only_what_no_job_needs_is_removed(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    pages: None,
) -> None:
    for number, name in enumerate(("earlier", "ended", "running", "deleted", "failed", "waiting")):
        await submit(store, name, number)
    earlier, ended, running, _deleted, failed = [
        WorkerStore(client, f"{number}{WORKER}").claim("q-test", ["test"]) for number in range(5)
    ]
    assert earlier is not None
    assert ended is not None
    assert running is not None
    assert failed is not None
    film = Artifact(MediaKind.VIDEO, f"results/ended/{ended.attempt_name}-0.mp4", "video/mp4", 4, 64, 64)
    assert WorkerStore(client, ended.worker).succeed(ended, (film,)) == JobState.SUCCEEDED
    assert await store.delete("deleted"), "its worker has not left it yet"
    await store.cancel("failed")
    assert (
        WorkerStore(client, failed.worker).finish_cancelled(failed.id, failed.attempt) == JobState.CANCELLED
    )
    # An id that is used again.
    await store.delete("earlier")
    assert (
        WorkerStore(client, earlier.worker).finish_cancelled(earlier.id, earlier.attempt)
        == JobState.CANCELLED
    )
    await store.delete_record(earlier)
    again = await submit(store, "earlier", 6, owner="next")
    await store.cancel("earlier")
    kept = {
        *(input_key(number) for number in (1, 2, 3, 4, 5, 6)),
        film.key,
        f"{film.key}.thumbnail.webp",
        *ended.partial_image_keys,
        *running.partial_image_keys,
        f"results/running/{running.attempt_name}-0.mp4",
        "results/running/look-0.png",
        "results/holidays/beach.mp4",
    }
    lost = {
        *(input_key(number) for number in (0, 7, 8, 9)),
        "results/ended/1-01234567-0.mp4",
        f"results/running/{running.seq}-0-{running.worker[:8]}-0.mp4",
        f"results/running/{running.seq}-1-{WORKER[-8:]}-partial-0.png",
        *earlier.partial_image_keys,
        f"results/earlier/{earlier.attempt_name}-0.mp4",
        "results/nobody/7-1-01234567-partial-0.png",
        f"results/failed/{failed.attempt_name}-0.mp4.thumbnail.webp",
        f"characters/{'ab' * 16}/avatar.png",
    }
    assert again.seq > earlier.seq
    store_files(artifacts, *kept, *lost)
    assert await remove_orphans(store, characters, artifacts, unknown_for=60) == 0, "they are young"
    assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == len(lost)
    assert all_files(artifacts) == {*kept, "installation"}


async def test_files_of_records_that_can_not_be_read_stay(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    pages: None,
) -> None:
    await submit(store, "damaged", 0)
    client.hset("fg:job:damaged", mapping={"job": "{", "files": "["})
    own = {input_key(0), "results/damaged/7-1-01234567-0.mp4"}
    unknown = {input_key(1), "results/nobody/7-1-01234567-0.mp4"}
    store_files(artifacts, *own, *unknown)
    with structlog.testing.capture_logs() as logs:
        assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == 1
    assert all_files(artifacts) == {*own, input_key(1), "installation"}
    assert "orphans_left" in [line["event"] for line in logs], "nobody knows which inputs are its own"
    await store.cancel("damaged")
    due = Retention(store, characters, artifacts, files_for=-1, records_for=-1)
    assert await due.remove_expired() == 1
    assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == 3
    assert all_files(artifacts) == {"installation"}


async def test_one_host_looks_at_a_time(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, data_dir: Path
) -> None:
    looking = asyncio.Event()
    loop = asyncio.get_running_loop()
    others: list[int] = []

    class Watched(FolderStore):
        def delete(self, key: str) -> None:
            loop.call_soon_threadsafe(looking.set)
            others.append(asyncio.run_coroutine_threadsafe(self.other_host(), loop).result(30))
            super().delete(key)

        async def other_host(self) -> int:
            return await remove_orphans(store, characters, FolderStore(data_dir), unknown_for=-60)

    artifacts = Watched(data_dir)
    store_files(artifacts, "results/nobody/7-1-01234567-0.mp4")
    assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == 1
    assert others == [0]
    assert client.get("fg:orphans") is None
    assert client.get("fg:orphans:searched") is None, "only who runs for long counts the hours"


async def test_hosts_take_turns_by_the_hour(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, artifacts: FolderStore
) -> None:
    """Each looks when it starts; after that it leaves it to the others if one of them has."""
    retention = Retention(store, characters, artifacts, files_for=60, records_for=60)
    running = asyncio.create_task(retention.run())
    async with asyncio.timeout(30):
        while not await store.stored_files.searched_lately():
            assert not running.done()
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
    assert 0 < int(client.ttl("fg:orphans:searched")) <= 3600
