"""What many stored records cost: ``python -m tests.benchmarks.retention --jobs 200000``.

Starts a Valkey of its own in a temporary folder, fills it with jobs that have ended, through the same scripts
as the server, and prints how long lists, the search for orphans and retention take, without the file system's
part of it. The longest call is Valkey's own time, during which it answers nobody else.
"""

import argparse
import asyncio
import logging
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import Path

import structlog
from msgspec.structs import replace

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.testing import InMemoryArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect, connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.orphans import remove_orphans
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job
from tests.support.scaling.cost import times_of

OWNER = "alice"
COLLECTION = "videos"
AT_ONCE = 32
CALLS = 200
ACTIVE = 20
"""So many of her jobs still wait."""


def input_key(number: int) -> str:
    return f"inputs/{number:032x}.png"


def job(number: int) -> Job:
    made = make_job(f"job-{number:032x}", owner=OWNER, collection=COLLECTION, input_bytes=1)
    assert made.request.image is not None
    image = replace(made.request.image, key=input_key(number))
    return replace(made, request=replace(made.request, image=image, num_partial_images=1))


class Listing(InMemoryArtifactStore):
    """Two old files of each of ``count`` jobs, none of which is there to be removed."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder)
        self._count = count

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        for number in range(self._count):
            yield input_key(number)
            yield f"results/job-{number:032x}/look-0.png"

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        return {}


async def fill(store: ValkeyJobStore, count: int) -> None:
    async def end(number: int) -> None:
        made = await store.submit(job(number), limits=Limits())
        if number >= ACTIVE:
            await store.cancel(made.id)

    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(end(number) for number in range(start, min(start + AT_ONCE, count))))


class Stage:
    """Prints the processor time that a stage takes here and in Valkey, and the longest call of Valkey."""

    def __init__(self, url: str, name: str, count: int) -> None:
        self._client = connect(url)
        self._name = name
        self._count = count

    def __enter__(self) -> None:
        self._client.config_set("slowlog-log-slower-than", 500)
        self._client.config_set("slowlog-max-len", 100_000)
        self._client.slowlog_reset()
        self._started, self._valkey_started = time.process_time(), self._valkey_time()

    def _valkey_time(self) -> float:
        used = self._client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def __exit__(self, *_: object) -> None:
        seconds = time.process_time() - self._started
        valkey_seconds = self._valkey_time() - self._valkey_started
        slow = self._client.slowlog_get(100_000)
        longest = max((entry["duration"] / 1000 for entry in slow), default=0.5)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{self._name:32} {1e6 * seconds / self._count:5.0f} µs each, in Valkey "
            f"{1e6 * valkey_seconds / self._count:4.0f} µs   longest call {longest:5.1f} ms   "
            f"memory {memory:.0f} MiB"
        )
        self._client.close()


async def timed(name: str, call: Callable[[], Awaitable[object]]) -> None:
    """Print the times of `CALLS` calls."""
    times: list[float] = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await call()
        times.append(1000 * (time.perf_counter() - began))
    print(f"{name:32} {times_of(times)}")


async def measure(url: str, count: int, folder: Path) -> None:
    store, characters = ValkeyJobStore(connect_async(url)), ValkeyCharacterStore(connect_async(url))
    artifacts = Listing(folder, count)
    try:
        with Stage(url, "submitted and cancelled", count):
            await fill(store, count)
        active = (JobState.QUEUED, JobState.RUNNING)

        async def active_jobs() -> None:
            assert len(await store.list(owner=OWNER, states=active, limit=1000)) == ACTIVE

        await timed("active jobs of the owner", active_jobs)
        await timed("newest 100 of the owner", lambda: store.list(owner=OWNER, states=(), limit=100))
        await timed("newest 100 of all", lambda: store.list(owner=None, states=(), limit=100))
        page = store.page
        await timed(
            "first page", lambda: page(COLLECTION, owner=OWNER, after="", limit=20, newest_first=True)
        )
        with Stage(url, "search for orphans", 2 * count):
            assert await remove_orphans(store, characters, artifacts) == 0
        with Stage(url, "removal of files", count):
            retention = Retention(store, characters, artifacts, files_for=0, records_for=10**6)
            assert await retention.remove_expired() == count - ACTIVE
        with Stage(url, "removal of records", count):
            await Retention(store, characters, artifacts, files_for=0, records_for=0).remove_expired()
        counts = await store.counts()
        assert (counts.cancelled, counts.queued) == (0, ACTIVE)
    finally:
        await characters.close()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    count = parser.parse_args().jobs
    # The audit log's line for each job is not what is measured.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        valkey = EmbeddedValkey(Path(folder))
        valkey.start()
        try:
            asyncio.run(measure(valkey.url, count, Path(folder)))
        finally:
            valkey.stop()


if __name__ == "__main__":
    main()
