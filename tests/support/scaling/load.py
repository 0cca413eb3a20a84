"""Jobs of many owners that many workers run: claims, ends and submissions, as fast as the workers finish."""

import asyncio
import heapq
import random
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import redis
from msgspec.structs import replace

from framegate.core.errors import Unavailable
from framegate.core.jobs import Job
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage.connections import connect
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LEASE_SECONDS, WorkerStore
from tests.support.sample_jobs import make_job
from tests.support.scaling.replay import SimulatedWorkers

QUEUE = "q-scale"
PARKED = "parked"
"""A model of which one job may run, and one does."""
MODELS_OF_A_WORKER = 4
_AT_ONCE = 32
_ASK_AGAIN = 1.0
_RESULT = Artifact(MediaKind.VIDEO, "results/x/1-x-0.mp4", "video/mp4", 1000, 64, 64, 8, 8.0, 1.0)


class Jobs:
    """The jobs of ``owners`` owners for ``models`` models of one queue group, in order of submission.

    An owner may run one job at a time, every tenth job is for the `PARKED` model, and the others' models
    come in turn.
    """

    def __init__(self, owners: int, models: int) -> None:
        self._owners = owners
        self._models = models
        self._number = 0

    def next(self) -> Job:
        """Return a new job of the next owner."""
        self._number += 1
        number = self._number
        owner, model = f"owner-{number % self._owners:06}", f"model-{number * 7 % self._models:03}"
        limits = {f"key:{owner}": 1, f"model:{model}": 0}
        if number % 10 == 0:
            model, limits = PARKED, {f"key:{owner}": 1, f"model:{PARKED}": 1}
        job = make_job(f"job-{number:09}", owner=owner, queue=QUEUE, running_limits=limits, served_by=model)
        return replace(job, collection="videos")


async def fill(store: ValkeyJobStore, jobs: Jobs, count: int) -> None:
    """Submit that many jobs, several at once."""
    for start in range(0, count, _AT_ONCE):
        batch = [jobs.next() for _ in range(start, min(start + _AT_ONCE, count))]
        await asyncio.gather(*(store.submit(job, limits=Limits()) for job in batch))


@contextmanager
def timed(times: list[float]) -> Generator[None]:
    """Note how many milliseconds a call takes, also if it fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        times.append(1000 * (time.perf_counter() - began))


class Load:
    """Runs jobs on simulated workers, ``job_seconds`` each on average, in a thread of its own.

    Make it where an event loop runs: for each job that ends there is an item in ``ended``. The other
    attributes are how many milliseconds calls took, the id of the `PARKED` model's running job, and how many
    calls failed because Valkey couldn't keep up.
    """

    def __init__(
        self, url: str, workers: SimulatedWorkers, count: int, *, models: int, job_seconds: float
    ) -> None:
        self.claims: list[float] = []
        self.ends: list[float] = []
        self.submissions: list[float] = []
        self.positions: list[float] = []
        self.empty_claims: list[float] = []
        self.ended = asyncio.Queue[None]()
        self.parked = ""
        self.failures = 0
        self._loop = asyncio.get_running_loop()
        self._client = connect(url)
        self._workers = workers
        self._seconds = job_seconds
        self._draw = random.Random(1)
        self._stores = [WorkerStore(self._client, workers.id(number)) for number in range(count)]
        step = max(1, models // MODELS_OF_A_WORKER)
        self._models = [
            [f"model-{(number + each * step) % models:03}" for each in range(MODELS_OF_A_WORKER)]
            for number in range(count)
        ]
        self._running: list[Job | None] = [None] * count
        self._due: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def claim_for_all(self) -> int:
        """Let every worker claim a job that ends at any moment of its time; return how many got one."""
        for number in range(len(self._stores)):
            self._claim(number, self._draw.uniform(0, self._seconds))
        self.claims.clear()
        return sum(job is not None for job in self._running)

    def occupy_parked(self) -> None:
        """Let a worker of its own claim the one job of the `PARKED` model that may run."""
        job = WorkerStore(self._client, "parked-worker").claim(QUEUE, [PARKED])
        assert job is not None
        self.parked = job.id

    def start(self) -> None:
        """Begin to end jobs and to claim others."""
        self._thread.start()

    def stop(self) -> None:
        """Stop doing so; what runs is left."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            due, number = self._due[0]
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            heapq.heappop(self._due)
            job = self._running[number]
            try:
                if job is not None:
                    with timed(self.ends):
                        self._stores[number].succeed(job, (_RESULT,))
                    self._running[number] = None
                    self._loop.call_soon_threadsafe(self.ended.put_nowait, None)
                self._claim(number, self._draw.uniform(0.5, 1.5) * self._seconds)
            except redis.RedisError:
                self.failures += 1
                heapq.heappush(self._due, (time.monotonic() + _ASK_AGAIN, number))

    def _claim(self, number: int, seconds: float) -> None:
        began = time.perf_counter()
        job = self._stores[number].claim(QUEUE, self._models[number])
        (self.claims if job else self.empty_claims).append(1000 * (time.perf_counter() - began))
        self._running[number] = job
        if job is None:
            seconds = _ASK_AGAIN
        else:
            self._workers.run_job(number, job.id)
        heapq.heappush(self._due, (time.monotonic() + seconds, number))


async def submit_for_ended(store: ValkeyJobStore, jobs: Jobs, load: Load) -> None:
    """Submit a job for each that ends, until cancelled."""
    while True:
        await load.ended.get()
        job = jobs.next()
        try:
            with timed(load.submissions):
                await store.submit(job, limits=Limits(max_queued=10**6, owner_max_queued=1000))
        except Unavailable:
            load.failures += 1


async def ask_for_positions(
    store: ValkeyJobStore, waiting: Sequence[Job], load: Load, *, per_second: float
) -> None:
    """Ask for the place in the queue of jobs that were waiting, until cancelled."""
    draw = random.Random(2)
    while True:
        job = draw.choice(waiting)
        try:
            with timed(load.positions):
                await store.queue_positions([job])
        except Unavailable:
            load.failures += 1
        await asyncio.sleep(draw.expovariate(per_second))


async def claim_in_vain(client: redis.Redis, load: Load, *, per_second: float) -> None:
    """Claim for models of which no job may start, until cancelled."""
    draw = random.Random(3)
    store = WorkerStore(client, "worker-in-vain")
    while True:
        models = [PARKED] if draw.random() < 0.5 else ["nobody-wants-this"]
        try:
            with timed(load.empty_claims):
                job = await asyncio.to_thread(store.claim, QUEUE, models)
            if job is not None:  # a Valkey that can't keep up has let the lease of the parked job expire
                store.requeue(job.id, job.attempt)
        except redis.RedisError:
            load.failures += 1
        await asyncio.sleep(draw.expovariate(per_second))


async def keep_parked(client: redis.Redis, load: Load) -> None:
    """Renew the lease of the parked model's job every second, until cancelled."""
    while True:
        with suppress(redis.RedisError):
            seconds, _ = client.time()
            client.zadd(f"{PREFIX}leases", {load.parked: seconds + LEASE_SECONDS})
        await asyncio.sleep(1)


async def sweep(store: ValkeyJobStore) -> None:
    """Sweep every second as a server does, until cancelled."""
    while True:
        with suppress(Unavailable):
            await store.sweep()
        await asyncio.sleep(1)
