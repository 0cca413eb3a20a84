"""Jobs that are held in memory: never older than what was read before, whatever becomes of Valkey."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.job_cache import JobCache
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import RunningJob, WorkerStore
from tests.support.external_valkey import ExternalValkey
from tests.support.sample_jobs import make_job

STEPS = 400


@pytest.fixture
async def holder(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyJobStore]:
    found = ValkeyJobStore(connect_async(valkey.url), holds_jobs=True)
    yield found
    await found.close()


async def held(store: ValkeyJobStore, job_id: str) -> Job:
    """Read a job, and return it from memory."""
    read = await store.get(job_id)
    kept = store.held(job_id)
    assert kept is not None
    assert kept == read
    return kept


async def poll(store: ValkeyJobStore, job_id: str) -> Job | None:
    """Return the job as a poll does."""
    return store.held(job_id) or await store.get(job_id)


async def test_what_has_not_changed_is_not_read_again(holder: ValkeyJobStore, writes: list[int]) -> None:
    for number in range(3):
        await holder.submit(make_job(f"j{number}", owner="alice"), limits=Limits())
    await held(holder, "j1")
    await holder.list(owner="alice", states=(), limit=9)
    writes.clear()
    for _ in range(20):
        assert holder.held("j1") is not None
    assert writes == []
    assert len(await holder.list(owner="alice", states=(), limit=9)) == 3
    assert writes == [1], "the ids alone"


async def test_a_store_that_holds_nothing_reads_each_time(store: ValkeyJobStore, writes: list[int]) -> None:
    await store.submit(make_job("j"), limits=Limits())
    writes.clear()
    for _ in range(3):
        await store.get("j")
        assert store.held("j") is None
    assert len(writes) == 3


@pytest.mark.parametrize("readers", [1, 5])
async def test_no_reader_ever_goes_back(
    holder: ValkeyJobStore, valkey: EmbeddedValkey, client: redis.Redis, readers: int
) -> None:
    """While a worker reports as fast as it can, and connections are cut.

    Of those readers, all of whom this process answers over one connection: replies to other connections may
    be newer for a moment.
    """
    await holder.submit(make_job("j"), limits=Limits())
    worker = WorkerStore(client, "w")
    assert worker.claim("q-test", ["test"])
    ended = threading.Event()

    def report() -> None:
        with connect(valkey.url) as own:
            reporter = WorkerStore(own, "w")
            for step in range(1, STEPS + 1):
                reporter.heartbeat([RunningJob("j", 1, step / STEPS, str(step))])
                if step % 100 == 0:
                    own.client_kill_filter(_type="normal", skipme=True)
            assert reporter.succeed(replace(make_job("j"), attempt=1), ()) == JobState.SUCCEEDED
        ended.set()

    seen = 0.0
    hits = 0
    reporting = asyncio.create_task(asyncio.to_thread(report))

    async def read() -> None:
        nonlocal seen, hits
        while not ended.is_set():
            kept = holder.held("j")
            before = seen
            job = kept or await holder.get("j")
            assert job is not None
            # What another reader has seen while this one waited may be newer.
            assert job.progress >= before
            seen = max(seen, job.progress)
            hits += kept is not None
            await asyncio.sleep(0)

    await asyncio.gather(reporting, *(read() for _ in range(readers)))
    last = await poll(holder, "j")
    assert last is not None
    assert last.state == JobState.SUCCEEDED
    assert hits
    assert 0 < seen <= 1


async def test_a_process_sees_what_it_has_changed_itself(holder: ValkeyJobStore) -> None:
    for job_id in ("cancelled", "deleted", "removed"):
        await holder.submit(make_job(job_id), limits=Limits())
        await held(holder, job_id)
    await holder.cancel("cancelled")
    assert (await held(holder, "cancelled")).state == JobState.CANCELLED
    await holder.delete("deleted")
    assert await poll(holder, "deleted") is None
    ended = await holder.cancel("removed")
    assert ended is not None
    await holder.delete_record(ended)
    assert await poll(holder, "removed") is None


async def test_what_others_change_is_noticed(holder: ValkeyJobStore, client: redis.Redis) -> None:
    """By scripts, by hand, by emptying everything; and a job that comes again with the same id is another."""
    await holder.submit(make_job("j"), limits=Limits())
    first = await held(holder, "j")
    client.hset("fg:job:j", "message", "half of it")
    async with asyncio.timeout(10):
        while await message_of(holder) != "half of it":  # noqa: ASYNC110  # nothing else tells
            await asyncio.sleep(0)
        client.flushall()
        while await poll(holder, "j") is not None:  # noqa: ASYNC110  # nothing else tells
            await asyncio.sleep(0)
    await holder.submit(make_job("other"), limits=Limits())
    again = await holder.submit(make_job("j"), limits=Limits())
    assert (await held(holder, "j")).seq == again.seq != first.seq


async def message_of(store: ValkeyJobStore) -> str:
    job = await poll(store, "j")
    assert job is not None
    return job.message


async def test_nothing_is_held_without_a_connection(external: ExternalValkey) -> None:
    store = ValkeyJobStore(connect_async(external.url), holds_jobs=True)
    await store.submit(make_job("j"), limits=Limits())
    await held(store, "j")
    external.kill()
    with pytest.raises(Unavailable):
        await poll(store, "j")
    external.start()
    with connect(external.url) as client:
        client.hset("fg:job:j", "message", "changed meanwhile")
    assert await message_of(store) == "changed meanwhile"
    await held(store, "j")
    await store.close()


@pytest.mark.parametrize("refused", ["tracking", "caching"])
async def test_a_server_that_does_not_track_is_asked_each_time(
    holder: ValkeyJobStore, client: redis.Redis, writes: list[int], refused: str
) -> None:
    client.acl_setuser("default", enabled=True, commands=[f"-client|{refused}"])
    try:
        await holder.submit(make_job("j"), limits=Limits())
        assert await holder.get("j") is not None
        assert holder.held("j") is None
        for _ in range(2):
            writes.clear()
            assert len(await holder.list(owner=None, states=(), limit=9)) == 1
            assert writes == [1, 1], "the ids, and the record"
    finally:
        client.acl_setuser("default", enabled=True, categories=["+@all"])


async def test_lists_use_what_has_not_changed_beside_other_processes(
    store: ValkeyJobStore, client: redis.Redis, writes: list[int]
) -> None:
    """Nothing is answered without a round trip; what had changed before that one is known after it."""
    for number in range(3):
        await store.submit(make_job(f"j{number}", owner="alice", collection="videos"), limits=Limits())

    async def messages() -> list[str]:
        return [job.message for job in await store.list(owner="alice", states=(), limit=9)]

    assert await messages() == ["", "", ""]
    for number in range(50):
        changed, text = number % 3, str(number)
        client.hset(f"fg:job:j{changed}", "message", text)
        assert (await messages())[2 - changed] == text
        page = await store.page("videos", owner="alice", after="", limit=9, newest_first=False)
        assert page is not None
        assert page.jobs[changed].message == text
    writes.clear()
    await messages()
    assert writes == [1], "nothing has changed"
    client.hset("fg:job:j1", "message", "last")
    assert (await messages())[1] == "last"
    assert writes == [1, 1, 1], "what has changed is read"
    assert store.held("j1") is None


def test_the_memory_of_held_jobs_is_bounded() -> None:
    cache = JobCache(max_bytes=100_000)
    for number in range(100):
        cache.put(make_job(f"j{number}"), ["x" * 900, "y" * 100])
        assert cache.get("j0") is not None, "it was used last"
    assert len(cache) == 100_000 // (1280 + 1000)
    assert cache.get("j99") is not None
    assert cache.get("j1") is None
    cache.put(make_job("j99"), ["x" * 10**7])
    assert cache.get("j99") is None, "it would take the place of all others"
    for number in range(100):
        cache.put(make_job(f"j{number}"), ["\u00e9" * 1000])
    assert len(cache) == 100_000 // (1280 + 4000), "these take more"
    cache.discard("unknown")
    cache.clear()
    assert len(cache) == 0
    assert cache.get("j0") is None
