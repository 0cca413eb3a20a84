"""A record that is damaged or missing stops nothing: neither its queue, nor lists, nor sweeps."""

from collections.abc import Callable
from typing import cast

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import JobError, JobState
from framegate.core.ports import IdempotencyKey, Limits, WorkerInfo
from framegate.core.types import Artifact, MediaKind
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job

VIDEO = Artifact(MediaKind.VIDEO, "results/broken/1-0.mp4", "video/mp4", 12, 64, 64)
CUT = '{"id":"broken","model":"te'

Damage = Callable[[redis.Redis], object]

DAMAGE: dict[str, Damage] = {
    "cut JSON": lambda client: client.hset("fg:job:broken", "job", CUT),
    "no UTF-8": lambda client: client.hset("fg:job:broken", "job", b'{"id": "\xff'),
    "no JSON": lambda client: client.hdel("fg:job:broken", "job"),
    "changed types": lambda client: client.hset("fg:job:broken", "job", '{"id":"broken","shots":7}'),
    "another job's": lambda client: client.hset(
        "fg:job:broken", "job", cast("str", client.hget("fg:job:next", "job"))
    ),
    "an odd schema": lambda client: client.hset("fg:job:broken", "schema", "-7"),
    "an odd error": lambda client: client.hset("fg:job:broken", "error", "[]"),
}
MENDED: dict[str, Damage] = {
    "no attempt": lambda client: client.hdel("fg:job:broken", "attempt"),
    "an odd attempt": lambda client: client.hset("fg:job:broken", "attempt", "many"),
    "no progress": lambda client: client.hdel("fg:job:broken", "progress", "worker", "message"),
    "an odd state": lambda client: client.hset("fg:job:broken", "state", "dreaming"),
}
"""What a claim writes anyway."""


async def submit(store: ValkeyJobStore, *names: str, owner: str = "alice") -> None:
    for name in names:
        job = make_job(name, owner=owner, collection="videos", running_limits={f"key:{owner}": 2})
        await store.submit(job, limits=Limits())


def lose(worker: WorkerStore, client: redis.Redis, *names: str) -> None:
    """Let a sweep find that the workers of these jobs are dead."""
    worker.sweep()  # after a time without sweeps each worker gets another lease
    client.zadd("fg:leases", dict.fromkeys(names, 0), xx=True)
    worker.sweep()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_worker_fails_what_it_cant_read_and_takes_the_next(
    store: ValkeyJobStore, client: redis.Redis, damage: Damage
) -> None:
    await submit(store, "broken", "next")
    damage(client)
    worker = WorkerStore(client, "w")
    with structlog.testing.capture_logs() as logs:
        job = worker.claim("q-test", ["test"])
    assert job is not None
    assert job.id == "next"
    [line] = [line for line in logs if line["event"] == "job_unreadable"]
    assert line["job_id"] == "broken"
    assert "Traceback" not in line["reason"]
    assert await store.list(owner="alice", states=[JobState.RUNNING], limit=9) == [job]
    shown = await store.get("broken")
    assert shown is not None
    assert (shown.state, shown.owner) == (JobState.FAILED, "alice")
    assert shown.error is not None
    assert shown.error.code == UnreadableRecord.code
    assert "submit it again" in shown.error.message
    assert client.scard("fg:running:key:alice") == 1


@pytest.mark.parametrize("damage", MENDED.values(), ids=MENDED)
async def test_a_worker_runs_what_a_claim_mends(
    store: ValkeyJobStore, client: redis.Redis, damage: Damage
) -> None:
    await submit(store, "broken")
    damage(client)
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    assert (job.id, job.attempt, job.state) == ("broken", 1, JobState.RUNNING)
    assert worker.claim("q-test", ["test"]) == job
    assert worker.succeed(job, (VIDEO,)) == JobState.SUCCEEDED


async def test_a_job_that_cant_even_be_failed_holds_no_worker(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(store, "broken")
    client.hset("fg:job:broken", "job", CUT)
    worker = WorkerStore(client, "w")
    tried: list[JobError] = []

    def fail(job_id: str, attempt: int, error: JobError) -> None:
        tried.append(error)

    monkeypatch.setattr(worker, "fail", fail)
    assert worker.claim("q-test", ["test"]) is None
    assert len(tried) == 2
    monkeypatch.undo()
    assert worker.claim("q-test", ["test"]) is None, "it is not given the same job again"
    for _ in range(3):  # its lease runs out, like that of a dead worker
        lose(worker, client, "broken")
        assert worker.claim("q-test", ["test"]) is None
    job = await store.get("broken")
    assert job is not None
    assert job.state == JobState.FAILED


@pytest.mark.parametrize("damage", [*DAMAGE.values(), *MENDED.values()], ids=[*DAMAGE, *MENDED])
async def test_lists_leave_it_out_and_it_can_be_cancelled_and_deleted(
    store: ValkeyJobStore, client: redis.Redis, damage: Damage
) -> None:
    await submit(store, "first", "broken", "next")
    damage(client)
    with structlog.testing.capture_logs() as logs:
        listed = await store.list(owner="alice", states=(), limit=9)
    assert [job.id for job in listed if job.id != "broken"] == ["next", "first"]
    assert sum(line["event"] == "records_left_out" for line in logs) == 3 - len(listed)
    for newest_first in (True, False):
        page = await store.page("videos", owner="alice", after="", limit=9, newest_first=newest_first)
        assert page is not None
        assert {"first", "next"} <= {job.id for job in page.jobs}
    await store.cancel("broken")
    assert (await store.counts()).queued == 2
    assert await store.delete("broken") is not None
    assert await store.get("broken") is None
    assert [job.id for job in await store.list(owner="alice", states=(), limit=9)] == ["next", "first"]


@pytest.mark.parametrize("damage", [*DAMAGE.values(), *MENDED.values()], ids=[*DAMAGE, *MENDED])
async def test_sweeps_and_ends_of_damaged_running_jobs(
    store: ValkeyJobStore, client: redis.Redis, damage: Damage
) -> None:
    """Damaged while they ran: sweeps requeue both, and their worker may finish them."""
    await submit(store, "broken", "next")
    worker, other = WorkerStore(client, "w"), WorkerStore(client, "v")
    job, following = worker.claim("q-test", ["test"]), other.claim("q-test", ["test"])
    assert job is not None
    assert following is not None
    damage(client)
    lose(worker, client, "broken", "next")
    assert client.hget("fg:job:next", "state") == "queued"
    claimed = other.claim("q-test", ["test"])
    assert claimed is not None
    other.succeed(claimed, (VIDEO,))
    worker.heartbeat("broken", 1, 0.5)
    worker.succeed(job, (VIDEO,))
    assert await store.delete("broken") is not None


async def test_a_result_outlives_its_request(store: ValkeyJobStore, client: redis.Redis) -> None:
    job = make_job("broken", owner="alice", task_id="mine", result_name="boat.mp4", collection="videos")
    await store.submit(job, limits=Limits())
    worker = WorkerStore(client, "w")
    claimed = worker.claim("q-test", ["test"])
    assert claimed is not None
    worker.succeed(claimed, (VIDEO,))
    client.hset("fg:job:broken", "job", CUT)
    shown = await store.get("broken")
    assert shown is not None
    assert (shown.state, shown.artifacts) == (JobState.SUCCEEDED, (VIDEO,))
    assert (shown.client_id, shown.dialect, shown.owner) == ("mine", "test", "alice")
    assert (shown.served_by, shown.queue, shown.share_id) == ("test", "q-test", job.share_id)
    assert shown.request.task.output == MediaKind.VIDEO
    client.hset("fg:job:broken", "artifacts", "[7]")
    shown = await store.get("broken")
    assert shown is not None
    assert shown.state == JobState.FAILED
    assert shown.error is not None
    assert shown.error.code == UnreadableRecord.code
    client.hset("fg:job:broken", "state", "dreaming")
    shown = await store.get("broken")
    assert shown is not None
    assert shown.state == JobState.FAILED


async def test_webhooks_of_a_damaged_job_are_sent(store: ValkeyJobStore, client: redis.Redis) -> None:
    job = replace(make_job("broken", task_id="mine"), webhooks=("https://a.example.com/x", "nonsense"))
    await store.submit(job, limits=Limits())
    client.hset("fg:job:broken", "job", CUT)
    assert WorkerStore(client, "w").claim("q-test", ["test"]) is None
    [key] = cast("list[str]", client.keys("fg:delivery:*"))
    event = cast("dict[str, str]", client.hgetall(key))
    assert (event["url"], event["job_id"], event["outcome"]) == ("https://a.example.com/x", "mine", "failed")


async def test_missing_records_are_dropped(store: ValkeyJobStore, client: redis.Redis) -> None:
    """A server whose policy is not `noeviction` has removed them."""
    await submit(store, "first", "lost", "next")
    client.delete("fg:job:lost")
    assert await store.get("lost") is None
    assert await store.cancel("lost") is None
    assert await store.delete("lost") is None
    assert client.zscore("fg:owner:alice", "lost") is not None
    assert [job.id for job in await store.list(owner="alice", states=(), limit=9)] == ["next", "first"]
    page = await store.page("videos", owner="alice", after="", limit=9, newest_first=True)
    assert page is not None
    assert [job.id for job in page.jobs] == ["next", "first"]
    for index in ("jobs", "owner:alice", "collection:alice:videos", "state:queued"):
        assert client.zscore(f"fg:{index}", "lost") is None
    assert client.sismember("fg:queuedby:alice", "lost") == 0


async def test_a_running_job_without_record_gives_its_place_back(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "lost", "running", "next")
    workers = [WorkerStore(client, f"w{number}") for number in range(3)]
    lost, running, none = (worker.claim("q-test", ["test"]) for worker in workers)
    assert lost is not None
    assert running is not None
    assert none is None, "two of them may run at once"
    client.delete("fg:job:lost")
    assert workers[0].succeed(lost, ()) is None
    lose(workers[2], client, "lost")
    assert client.zscore("fg:leases", "lost") is None
    assert (await store.counts()).running == 1
    following = workers[0].claim("q-test", ["test"])
    assert following is not None
    assert following.id == "next"
    workers[1].succeed(running, ())
    workers[0].succeed(following, ())
    assert client.hlen("fg:claimed") == 0


async def test_a_damaged_announcement_leaves_the_other_workers_known(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    info = WorkerInfo("w", "host", 1, "cpu", "0.2.0", ("test",), 1.0)
    WorkerStore(client, "w").announce(info)
    client.sadd("fg:workers", "broken")
    client.set("fg:worker:broken", '{"id": 7')
    assert (await store.worker_presence()).workers == [info]


@pytest.mark.parametrize(
    "damaged", ["{", "7", "[]", '{"id": 7, "at": 0}', '{"id": "a"}', '{"id":"a","at":1,"others":1}']
)
async def test_a_damaged_idempotency_record_is_as_good_as_none(
    store: ValkeyJobStore, client: redis.Redis, damaged: str
) -> None:
    once = IdempotencyKey(key="k", fingerprint="f", retries=0)
    await store.submit(make_job("a"), limits=Limits(), idempotency=once)
    [key] = cast("list[str]", client.keys("fg:once:*"))
    client.set(key, damaged)
    made = await store.submit(
        make_job("b"), limits=Limits(), idempotency=IdempotencyKey(key="k", fingerprint="f")
    )
    assert made.id == "b"
