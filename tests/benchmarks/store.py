"""How fast the store answers when it holds many jobs: ``python -m tests.benchmarks.store --jobs 100000``.

Starts a Valkey of its own in a temporary folder, fills it through the same scripts as the server, and prints
the time that each call takes as the API or a worker sees it, the client's share and the connection included.
Then it fills another one with a job of each of ``--owners`` keys for `MODELS` models, each with limits, and
does the same for what looks for the next job.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from framegate.core.errors import QueueFull
from framegate.core.jobs import Job
from framegate.core.ports import Limits, WorkerInfo
from framegate.storage.connections import connect, connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job

OWNERS = ("alice", "bob", "carol", "dave")
COLLECTION = "videos"
ROUNDS = 200
AT_ONCE = 32
WORKERS = 50
MODELS = tuple(f"model-{number}" for number in range(100))
MOST_MS = 5.0
"""How many milliseconds a claim or a place in the queue may take at the 99th percentile."""


def job(number: int) -> Job:
    owner = OWNERS[number % len(OWNERS)] if number % 10 == 0 else OWNERS[0]
    limits = {f"key:{owner}": 1_000_000, "model:wan22": 1_000_000 + number % 3}
    return make_job(f"j{number}", owner=owner, running_limits=limits, collection=COLLECTION)


def worker_info(number: int) -> WorkerInfo:
    models = tuple(f"model-{number % 7}-{each}" for each in range(8))
    return WorkerInfo(f"a{number}", f"host-{number}", number, "cuda:0", "0.2.0", models, 0.0)


async def fill(store: ValkeyJobStore, count: int) -> None:
    for start in range(0, count, AT_ONCE):
        batch = (job(number) for number in range(start, min(start + AT_ONCE, count)))
        await asyncio.gather(*(store.submit(one, limits=Limits()) for one in batch))


@dataclass(frozen=True)
class Times:
    """How long a call takes, in milliseconds."""

    median: float
    p99: float


async def timed(name: str, call: Callable[[], Awaitable[object]]) -> Times:
    """Print and return the times of `ROUNDS` calls."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await call()
        times.append(1000 * (time.perf_counter() - started))
    times.sort()
    found = Times(statistics.median(times), times[-1 - ROUNDS // 100])
    print(f"{name:40} median {found.median:7.2f} ms   p99 {found.p99:7.2f} ms")
    return found


async def measure(url: str, count: int) -> float:
    """The median of a page in the middle, in milliseconds."""
    store = ValkeyJobStore(connect_async(url))
    client = connect(url)
    try:
        started = time.perf_counter()
        await fill(store, count)
        print(f"{count:,} jobs submitted, {count / (time.perf_counter() - started):,.0f} a second")
        middle = f"j{count // 2 + (1 if (count // 2) % 10 == 0 else 0)}"  # one of alice's
        last = await store.get(f"j{count - 1}")
        assert last is not None

        async def page(after: str, newest_first: bool) -> None:
            found = await store.page(
                COLLECTION, owner=OWNERS[0], after=after, limit=20, newest_first=newest_first
            )
            assert found is not None
            assert len(found.jobs) == 20

        await timed("first page", lambda: page("", True))
        median = (await timed("page in the middle", lambda: page(middle, True))).median
        await timed("page in the middle, oldest first", lambda: page(middle, False))
        await timed("record", lambda: store.get(middle))
        await timed("place in the queue", lambda: store.queue_position(last))
        numbers = iter(range(count, count + ROUNDS))
        await timed("submit", lambda: store.submit(job(next(numbers)), limits=Limits(max_queued=10**9)))
        full = Limits(max_queued=1)
        await timed("refusal of a full queue", lambda: _refused(store, full))
        for number in range(WORKERS):
            WorkerStore(client, f"a{number}").heartbeat([], info=worker_info(number))
        await timed(f"presence of {WORKERS} workers", store.worker_presence)
        workers = iter([WorkerStore(client, f"w{number}") for number in range(ROUNDS)])
        await timed("claim", lambda: asyncio.to_thread(next(workers).claim, "q-test", ["test"]))
        return median
    finally:
        client.close()
        await store.close()


def owners_job(number: int, name: str = "") -> Job:
    """Return the job of a key that may run one job at once, for one of the models, which may as well."""
    owner, model = f"owner-{number}", MODELS[number % len(MODELS)]
    limits = {f"key:{owner}": 1, f"model:{model}": 1}
    return make_job(name or f"j{number}", owner=owner, served_by=model, running_limits=limits)


async def measure_owners(url: str, count: int) -> float:
    """Return the worst 99th percentile of a claim or a position, in milliseconds."""
    store = ValkeyJobStore(connect_async(url))
    client = connect(url)
    try:
        for start in range(0, count, AT_ONCE):
            batch = (owners_job(number) for number in range(start, min(start + AT_ONCE, count)))
            await asyncio.gather(*(store.submit(one, limits=Limits()) for one in batch))
        print(f"{count:,} owners wait for {len(MODELS)} models")
        middle, last = owners_job(count // 2), owners_job(count - 1)
        numbers = iter(range(count))
        workers = iter([WorkerStore(client, f"w{number}") for number in range(4 * ROUNDS)])

        def claim(models: Sequence[str]) -> Awaitable[Job | None]:
            return asyncio.to_thread(next(workers).claim, "q-test", models)

        async def submit_second() -> None:
            number = next(numbers)
            await store.submit(owners_job(number, f"second-{number}"), limits=Limits())

        await timed("submit", submit_second)
        found = [
            await timed("place of the last", lambda: store.queue_position(last)),
            await timed("place in the middle", lambda: store.queue_position(middle)),
            await timed("claim, until each model is busy", lambda: claim(MODELS)),
            await timed("claim that finds all models busy", lambda: claim(MODELS)),
            await timed("claim that finds its one model busy", lambda: claim(MODELS[:1])),
        ]
        return max(times.p99 for times in found)
    finally:
        client.close()
        await store.close()


async def _refused(store: ValkeyJobStore, limits: Limits) -> None:
    try:
        await store.check_admission("", "alice", limits=limits, idempotency=None)
    except QueueFull:
        return
    raise AssertionError("the queue is full")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--owners", type=int, default=10_000)
    parser.add_argument("--most", type=float, default=10.0, help="milliseconds that a page may take")
    arguments = parser.parse_args()
    median = _with_valkey(lambda url: measure(url, arguments.jobs))
    p99 = _with_valkey(lambda url: measure_owners(url, arguments.owners))
    if median > arguments.most:
        sys.exit(f"A page took {median:.1f} ms; at most {arguments.most:g} ms is promised.")
    if p99 > MOST_MS:
        sys.exit(f"A claim or a place took {p99:.1f} ms; at most {MOST_MS:g} ms is promised.")


def _with_valkey(call: Callable[[str], Coroutine[None, None, float]]) -> float:
    """Return what ``call`` does for the URL of a Valkey of its own."""
    with tempfile.TemporaryDirectory() as folder:
        valkey = EmbeddedValkey(Path(folder))
        valkey.start()
        try:
            return asyncio.run(call(valkey.url))
        finally:
            valkey.stop()


if __name__ == "__main__":
    main()
