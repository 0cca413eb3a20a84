"""A record that is damaged or missing stops nothing: neither its queue, nor lists, nor sweeps."""

import json
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import JobError, JobState
from framegate.core.ports import IdempotencyKey, Limits, QueueCounts, WorkerInfo
from framegate.core.types import Artifact, MediaKind
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.retention import Retention
from tests.support.heartbeats import heartbeat
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


ODD_NUMBERS = ["", "nan", "1e999", "1.5", "99999999999999999999"]
ODD_LANES = [
    '["q-test","nan","alice",{},"test"]',
    '["q-test","0","alice",{"key:alice":"many"},"test"]',
    '["q-test","0","alice",{"key:alice":1e999},"test"]',
    '["q-test","0","alice",[1],"test"]',
    '["q-test","0","alice",7]',
]
ODD_FIELDS = {
    f"{name} {text!r}": (name, text)
    for name, texts in {
        "schema": ODD_NUMBERS[1:3],
        "lane": ODD_LANES,
        **dict.fromkeys(("attempt", "seq", "progress", "stored", "record", "finished_at"), ODD_NUMBERS),
    }.items()
    for text in texts
}


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
    heartbeat(worker, "broken", 1, 0.5)
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


async def test_a_waiting_job_whose_lane_nobody_knows_stops_no_sweep(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "broken", "next")
    client.hdel("fg:job:broken", "lane")
    client.delete("fg:waiting:q-test")
    worker = WorkerStore(client, "w")
    worker.sweep()
    for name in ("broken", "next"):
        job = worker.claim("q-test", ["test"])
        assert job is not None
        assert job.id == name
        worker.succeed(job, ())
    worker.sweep()
    assert (await store.counts()) == QueueCounts(0, 0, 2, 0, 0)
    assert client.hlen("fg:waiting:q-test") == 0


async def test_nothing_is_left_of_a_claim_whose_job_an_older_version_has_ended(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "job")
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    lane = client.hget("fg:claimed", "job")
    assert lane is not None
    worker.succeed(job, ())
    # Versions before 0.2 don't know this key.
    client.hset("fg:claimed", "job", lane)
    ended = await store.get("job")
    assert ended is not None
    await store.delete_record(ended)
    assert not client.exists("fg:claimed")


@pytest.mark.parametrize("more", [("queued",), ("queues",), ("queued", "queues")])
async def test_jobs_that_only_their_state_knows_go_on(
    store: ValkeyJobStore, client: redis.Redis, more: Sequence[str]
) -> None:
    """A server whose policy is not `noeviction` has removed all that lists them."""
    await submit(store, "dead", "first", "lost", "last")
    worker, other = WorkerStore(client, "w"), WorkerStore(client, "v")
    assert worker.claim("q-test", ["test"]) is not None
    lists = ("lane", "lanes", "levels", "turns", "waiting", "depths", "places", "buckets", "leases", *more)
    evicted = [key for name in lists for key in cast("list[str]", client.keys(f"fg:{name}*"))]
    client.delete("fg:job:lost", *evicted)
    other.sweep()
    assert client.zscore("fg:leases", "dead") is not None
    lose(other, client, "dead")
    served: list[str] = []
    while job := other.claim("q-test", ["test"]):
        served.append(job.id)
        other.succeed(job, ())
    assert served == ["dead", "first", "last"]
    assert (await store.counts()) == QueueCounts(0, 0, 3, 0, 0)


async def test_a_damaged_announcement_leaves_the_other_workers_known(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    info = WorkerInfo("w", "host", 1, "cpu", "0.2.0", ("test",), 1.0)
    WorkerStore(client, "w").heartbeat([], info=info)
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


@pytest.mark.parametrize(("name", "text"), ODD_FIELDS.values(), ids=ODD_FIELDS)
@pytest.mark.parametrize("when", [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED])
async def test_what_scripts_read_may_be_anything(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    artifacts: FolderStore,
    client: redis.Redis,
    when: JobState,
    name: str,
    text: str,
) -> None:
    """Whatever stands in a field, the other jobs are served, and all that is left of the job is removed."""
    limits = Limits(owner_max_stored=10**9, owner_max_records=10**9)
    await store.submit(make_job("broken", running_limits={"key:": 2}), limits=limits)
    first, second = WorkerStore(client, "v"), WorkerStore(client, "w")
    job = None if when == JobState.QUEUED else first.claim("q-test", ["test"])
    if job and when == JobState.SUCCEEDED:
        first.succeed(job, (VIDEO,))
    client.hset("fg:job:broken", name, text)
    await store.submit(make_job("next", running_limits={"key:": 2}), limits=limits)
    heartbeat(first, "broken", 1, 0.5)
    first.sweep()
    if job:
        first.succeed(job, (VIDEO,))
    served: set[str] = set()
    while claimed := second.claim("q-test", ["test"]):
        assert claimed.id not in served
        served.add(claimed.id)
        second.succeed(claimed, (VIDEO,))
    assert "next" in served
    await store.delete("broken")
    lose(second, client, "broken")
    await Retention(store, characters, artifacts, files_for=-1, records_for=-1).remove_expired()
    assert client.keys("fg:job:*") == []
    assert client.keys("fg:running:*") == []
    assert (await store.counts()) == QueueCounts(0, 0, 0, 0, 0)


@pytest.mark.parametrize("models", [[[]], [True], {"a": 1}, 7, None])
async def test_a_damaged_announcement_of_a_dead_worker_stops_no_sweep(
    client: redis.Redis, models: object
) -> None:
    client.sadd("fg:workers", "dead")
    client.sadd("fg:listening", "dead")
    client.set("fg:worker:dead", json.dumps({"id": "dead", "models": models}))
    WorkerStore(client, "w").sweep()
    assert client.keys("fg:worker*") == []


@pytest.mark.parametrize(
    "damage",
    [{"low": "x"}, {"low": None}, {"high": []}, {"high": None}, {"others": [7]}, {"others": [{"id": "a"}]}],
)
@pytest.mark.parametrize("retries", [0, 1])
async def test_a_damaged_member_of_an_idempotency_record_refuses_nobody(
    store: ValkeyJobStore, client: redis.Redis, damage: dict[str, object], retries: int
) -> None:
    def once(call: str, retries: int) -> IdempotencyKey:
        return IdempotencyKey(key="k", fingerprint="f", call=call, retries=retries, repeat=retries > 0)

    await store.submit(make_job("a"), limits=Limits(), idempotency=once("first", 0))
    [key] = cast("list[str]", client.keys("fg:once:*"))
    client.set(key, json.dumps({**json.loads(cast("str", client.get(key))), **damage}))
    made = await store.submit(make_job("b"), limits=Limits(), idempotency=once("second", retries))
    assert made.id == ("a" if retries and "others" in damage else "b")
