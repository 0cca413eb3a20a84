"""How lists, retention and the search for orphans fare when Valkey holds very many finished jobs."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis
from msgspec.structs import replace

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.orphans import remove_orphans
from framegate.storage.retention import Retention
from tests.support.external_valkey import ExternalValkey
from tests.support.sample_jobs import make_job
from tests.support.scaling.copies import Copier, Template, copy_id, copy_owner, template_of, without_log
from tests.support.scaling.cost import Meter, times_of

DAY, HOUR = 86_400.0, 3600.0
OWNERS = 1000
BUSY_OWNER = "owner000000"
COLLECTION = "videos"
DUE = 10_000
ORPHANS = 1000
_OWNED_BY_ONE = 20_000
_QUEUE = "q-records"
_CALLS = 100
_ID, _OWNER = "record{:09}", "owner{:06}"

Add = Callable[[str, object], None]
Promise = Callable[[str, float, float, str], None]


async def measure_records(
    valkey: ExternalValkey, folder: Path, count: int, add: Add, promise: Promise
) -> None:
    """Fill Valkey with ``count`` finished jobs, and print what the calls of the API and of retention cost."""
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    store, characters = (
        ValkeyJobStore(connect_async(valkey.url)),
        ValkeyCharacterStore(connect_async(valkey.url)),
    )
    artifacts = FolderStore(folder / "data")
    due = min(DUE, count // 10)
    try:
        began = time.perf_counter()
        await fill(client, store, characters, artifacts, count, due)
        add("records", count)
        add("records: seconds to write them", round(time.perf_counter() - began, 1))
        meter = Meter(client)
        add("records: bytes of Valkey's memory for each", round(meter.memory() / count))
        await _measure_lists(store, count, add, promise)
        retention = Retention(store, characters, artifacts, files_for=HOUR, records_for=DAY)
        search = _search(store, characters, artifacts)
        for name, work, most in (
            (f"retention of {due:,} jobs' files and {due:,} records", retention.remove_expired, 60.0),
            (f"search for orphans, {ORPHANS:,} of {count // 50 + ORPHANS:,} files", search, 120.0),
        ):
            await _measure_beside(name, work, most, meter, valkey.url, add, promise)
        assert client.zcard(f"{PREFIX}jobs") == count - due + 3, (
            "as many records as are not due, and the active jobs"
        )
        left = len(list((folder / "data" / "files" / "results").iterdir()))
        add("records: folders with files that are left", left)
    finally:
        await store.close()
        await characters.close()
        client.close()


def _search(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, artifacts: FolderStore
) -> Callable[[], Awaitable[object]]:
    async def search() -> None:
        removed = await remove_orphans(store, characters, artifacts)
        assert removed == ORPHANS, removed

    return search


async def fill(
    client: redis.Redis,
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    artifacts: FolderStore,
    count: int,
    due: int,
) -> None:
    """Write finished jobs of an hour and a day, with the files of those of the last hour, and old orphans.

    The files and records of ``due`` jobs each have been kept long enough. One owner has many jobs that ended,
    and three that have not.
    """
    with without_log(client):
        with_files = await _make(store, client, 900_000_001)
        without = await _make(store, client, 900_000_002)
        kept = template_of(client, with_files.id, with_files.owner, with_files.share_id)
        await Retention(store, characters, artifacts, files_for=-1, records_for=DAY).remove_expired()
        recorded = template_of(client, without.id, without.owner, without.share_id)
        client.flushall()
        seconds, _ = client.time()
        copier = Copier(client)
        fresh = count // 50
        copier.write(recorded, due, owners=OWNERS, ended=seconds - DAY - 2 * HOUR, over=HOUR)
        busy = min(_OWNED_BY_ONE, count // 10)
        copier.write(recorded, busy, owners=1, ended=seconds - DAY + 2 * HOUR, over=HOUR)
        rest = count - 2 * due - busy - fresh
        copier.write(recorded, rest, owners=OWNERS, ended=seconds - DAY + 3 * HOUR, over=DAY - 5 * HOUR)
        stored = [
            *copier.write(kept, due, owners=OWNERS, ended=seconds - 1.9 * HOUR, over=0.8 * HOUR),
            *copier.write(kept, fresh, owners=OWNERS, ended=seconds - 0.5 * HOUR, over=0.2 * HOUR),
        ]
        await asyncio.to_thread(_write_files, artifacts, stored, kept)
        for name in ("waiting-1", "waiting-2", "waiting-3"):
            await store.submit(make_job(name, owner=BUSY_OWNER, queue=_QUEUE), limits=Limits())


async def _make(store: ValkeyJobStore, client: redis.Redis, number: int) -> Job:
    """Return a job that a worker has finished, all by the real scripts."""
    job_id, owner = _ID.format(number), _OWNER.format(number % 1_000_000)
    job = replace(make_job(job_id, owner=owner, queue=_QUEUE), collection=COLLECTION)
    await store.submit(job, limits=Limits())
    worker = WorkerStore(client, f"worker-{number}")
    claimed = await asyncio.to_thread(worker.claim, _QUEUE, ["test"])
    assert claimed is not None
    assert claimed.id == job_id
    artifact = Artifact(MediaKind.VIDEO, _key(job_id), "video/mp4", 5, 64, 64, 8, 8.0, 1.0)
    await asyncio.to_thread(worker.succeed, claimed, (artifact,))
    return claimed


def _key(job_id: str) -> str:
    return f"results/{job_id}/1-0123abcd-0.mp4"


def _write_files(artifacts: FolderStore, numbers: list[int], kept: Template) -> None:
    """Write a small file for each job, and orphans: all old enough to be looked at."""
    folder = artifacts.workdir("files").parents[1] / "files"
    old = time.time() - 2 * HOUR
    keys = [_key(copy_id(number)) for number in numbers]
    keys += [_key(f"orphan{number:09}") for number in range(ORPHANS)]
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True)
        path.write_bytes(b"video")
        os.utime(path, (old, old))


async def _measure_lists(store: ValkeyJobStore, count: int, add: Add, promise: Promise) -> None:
    owner, middle = copy_owner(count // 2, OWNERS), copy_id(count // 2)
    active = (JobState.QUEUED, JobState.RUNNING)

    def listing(owner: str | None, *states: JobState) -> Callable[[], Awaitable[object]]:
        return lambda: store.list(owner=owner, states=states, limit=100)

    def page(after: str) -> Callable[[], Awaitable[object]]:
        return lambda: store.page(COLLECTION, owner=owner, after=after, limit=20, newest_first=True)

    calls: dict[str, tuple[Callable[[], Awaitable[object]], float]] = {
        "list of the newest 100 of all": (listing(None), 100),
        "list of the newest 100 of an owner": (listing(owner), 100),
        "list of the newest 100 that succeeded": (listing(None, JobState.SUCCEEDED), 100),
        "list of all active jobs": (listing(None, *active), 100),
        "active jobs of the owner of very many": (listing(BUSY_OWNER, *active), 100),
        "first page": (page(""), 50),
        "page in the middle": (page(middle), 50),
        "record": (lambda: store.get(middle), 5),
        "counts": (store.counts, 5),
    }
    for name, (call, most) in calls.items():
        times: list[float] = []
        end = time.monotonic() + 30
        while len(times) < _CALLS and time.monotonic() < end:
            began = time.perf_counter()
            await call()
            times.append(1000 * (time.perf_counter() - began))
        add(f"records: {name}", times_of(times))
        promise(f"{name}, p99", times_of(times).p99, most, "ms")


async def _measure_beside(
    name: str,
    work: Callable[[], Awaitable[object]],
    most: float,
    meter: Meter,
    url: str,
    add: Add,
    promise: Promise,
) -> None:
    """Measure the work, and how long other clients wait for Valkey meanwhile."""
    times: list[float] = []
    done = threading.Event()

    def call() -> None:
        other = connect(url)
        while not done.wait(0.02):
            began = time.perf_counter()
            other.hgetall(f"{PREFIX}job:{copy_id(1)}")
            times.append(1000 * (time.perf_counter() - began))
        other.close()

    thread = threading.Thread(target=call)
    thread.start()
    try:
        began = time.perf_counter()
        with meter.cost() as cost:
            await work()
        seconds = time.perf_counter() - began
    finally:
        done.set()
        thread.join()
    add(f"records: {name}", f"{seconds:.1f} s")
    add("records: what that costs", cost)
    add("records: a call of another client meanwhile", times_of(times))
    promise(name, seconds, most, "s")
