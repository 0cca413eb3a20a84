"""Records of other versions: those of 0.1 are read and run, later ones are left to who can read them.

``records/valkey-0.1.json`` is all that a Valkey held after the steps of `act` in 0.1 (commit 5aa59e2), with
the times of that run moved into the past.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.characters import Character
from framegate.core.fitting import Change
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.ports import IdempotencyKey, Limits, WorkerInfo
from framegate.core.types import (
    Artifact,
    GenerationRequest,
    MediaKind,
    MediaRef,
    Shot,
    StoryboardShot,
    Task,
)
from framegate.storage import schema
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs import expiry
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.orphans import remove_orphans
from framegate.storage.retention import Retention
from framegate.storage.schema import PLAIN, SCHEMA, Layout, NewerRecord, Stamp, own_stamp, unchanged
from framegate.storage.webhook_deliveries import ValkeyDeliveryStore
from tests.support.heartbeats import heartbeat
from tests.support.sample_jobs import make_job

DUMP_OF_0_1: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "records" / "valkey-0.1.json").read_text()
)
STAMPS = {"schema", "written_by", "result_schema", "result_written_by"}
ADDED = {
    "stored",
    "submitted_at",
    "files",
    "result_files",
    "webhooks",
    "known_as",
    "dialect",
    "record",
}
"""Fields of a job that 0.1 does not have."""
INDEXES = re.compile(r"fg:(buckets?|places|waiting|waitingby|depths):.*")
"""Keys that 0.1 does not have, which are made of those that it has."""
NEWER = r"stored by Framegate 9\.1\.0; this host runs .*Update Framegate on this host\."
VIDEO = Artifact(MediaKind.VIDEO, "results/succeeded/1-0.mp4", "video/mp4", 1234, 64, 48, 8, 8.0, 1.0)
BROKEN = JobError("generation_failed", "The model broke.")
ANN = Character(
    id="c1",
    username="ann001",
    display_name="Ann",
    owner="alice",
    avatar="characters/c1/avatar.png",
    reference=MediaRef(MediaKind.IMAGE, "characters/c1/reference.png", 640, 480),
    created_at=1_760_000_000.5,
    temporary=True,
)
WORKER = WorkerInfo(
    "worker-running",
    "host",
    42,
    "cuda:0",
    "0.1.0",
    ("test",),
    1_760_000_000.0,
    "running",
    ("A server is away.",),
)


def full_job(name: str) -> Job:
    """Return a job with something in every field."""
    return Job(
        id=name,
        model="fast",
        served_by="test",
        queue="q-test",
        dialect="openai-videos",
        request=GenerationRequest(
            model="fast",
            task=Task.IMAGE_TO_VIDEO,
            prompt="a boat",
            width=64,
            duration=1.0,
            seed=7,
            storyboard=(StoryboardShot("a boat", 1.0),),
            num_partial_images=2,
            image=MediaRef(MediaKind.IMAGE, "inputs/0123456789abcdef0123456789abcdef.png", 640, 480),
        ),
        shots=(
            Shot(
                task=Task.IMAGE_TO_VIDEO,
                prompt="a boat",
                width=64,
                height=48,
                num_frames=9,
                fps=8.0,
                seed=7,
                num_inference_steps=2,
                guidance_scale=1.5,
                caption="boat",
                keep_frames=8,
            ),
        ),
        created_at=1_760_000_000.25,
        owner="alice",
        priority=1,
        running_limits={"key:alice": 3, "model:test": 2},
        changes=(Change("height", 50.0, 48.0, "a multiple of 16"),),
        request_id=f"request-{name}",
        labels={"result_name": f"{name}.mp4"},
        share_id=f"s_{name}",
        collection="videos",
        webhooks=("https://hooks.example.com/framegate",),
    )


TICKETS_OF_0_1 = ("fg:dq:", "fg:tickets")


async def act(store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis) -> None:
    await characters.add(ANN)
    for name in ("succeeded", "failed", "running", "queued"):
        idempotency = IdempotencyKey(key=f"once-{name}", fingerprint="boat")
        await store.submit(full_job(name), limits=Limits(), idempotency=idempotency)
        if name == "queued":
            break
        worker = WorkerStore(client, f"worker-{name}")
        job = worker.claim("q-test", ["test"])
        assert job is not None
        heartbeat(worker, name, 1, 0.5, "sampling")
        if name == "succeeded":
            worker.succeed(job, (VIDEO,))
        if name == "failed":
            worker.fail(job.id, job.attempt, BROKEN)
    WorkerStore(client, "worker-running").heartbeat([], info=WORKER)
    await store.installation()


def dump(client: redis.Redis) -> dict[str, dict[str, Any]]:
    readers: dict[str, Callable[[str], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": lambda key: sorted(cast("set[str]", client.smembers(key))),
        "zset": lambda key: cast("Any", client.zrange(key, 0, -1)),
    }
    keys = cast("list[str]", client.keys("*"))
    kinds = {key: cast("str", client.type(key)) for key in keys}
    return {key: {"type": kind, "value": readers[kind](key)} for key, kind in kinds.items()}


@pytest.fixture
def of_0_1(client: redis.Redis) -> None:
    """Put into Valkey what 0.1 has left there."""
    for key, entry in DUMP_OF_0_1.items():
        value = entry["value"]
        match entry["type"]:
            case "string":
                client.set(key, value)
            case "hash":
                client.hset(key, mapping=value)
            case "list":
                client.rpush(key, *value)
            case "set":
                client.sadd(key, *value)
            case _:
                client.zadd(key, value)


def without_times(entry: dict[str, Any]) -> Any:
    """Return an entry of a dump without stamps, times, and what is drawn or made of them."""
    value = entry["value"]
    match entry["type"]:
        case "zset":
            return sorted("evt" if member.startswith("evt_") else member for member in value)
        case "hash":
            changing = {*STAMPS, *ADDED, "started_at", "finished_at", "event", "created_at"}
            return {
                name: without_times(_string(text)) for name, text in value.items() if name not in changing
            }
        case "string" if str(value).startswith("{"):
            changing = {*STAMPS, "at", "message_timestamp", "resting", "video_encoder"}
            changing |= {"loads", "carried_out"}  # which workers of 0.1 don't announce either
            return {name: item for name, item in json.loads(value).items() if name not in changing}
        case _:
            return value


def by_owner(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of 0.1's dump with its receiver as it is called now: its owner's, with its port."""
    host, receiver = "hooks.example.com", "alice@hooks.example.com:443"
    value = entry["value"]
    match entry["type"]:
        case "zset":
            value = [receiver if member == host else member for member in value]
        case "hash" if value.get("receiver") == host:
            value = {**value, "receiver": receiver}
        case _:
            pass
    return {**entry, "value": value}


def _string(text: str) -> dict[str, Any]:
    return {"type": "string", "value": text}


def by_key(dump: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, entry in sorted(dump.items()):
        if key not in ("fg:installation", "fg:leases"):
            found.setdefault(key.partition("evt_")[0], []).append(without_times(entry))
    return {key: sorted(values, key=str) for key, values in found.items()}


async def test_what_is_stored_is_what_0_1_stores_and_a_stamp(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    """So 0.1 reads it: it passes over fields and keys that it does not know.

    Each version has tickets of its own, and 0.1 pushes those when it sweeps.
    """
    await act(store, characters, client)
    now = {key: entry for key, entry in dump(client).items() if not INDEXES.fullmatch(key)}
    assert list(now.pop("fg:seen")["value"]) == ["test"]
    assert list(now.pop("fg:claimed")["value"]) == ["running"]
    assert now.pop("fg:recorded:alice")["value"]["jobs"] == "4"
    used = {key: now.pop(key)["value"] for key in list(now) if key.startswith("fg:used:")}
    day = int(time.time() // 86_400)
    assert used.keys() == {f"fg:used:{day}", f"fg:used:{day}:alice"}
    assert used[f"fg:used:{day}"] == ["alice"]
    assert float(now.pop("fg:swept")["value"]) == pytest.approx(time.time(), abs=60)
    assert float(now.pop("fg:clock:webhooks")["value"]) == pytest.approx(time.time(), abs=60)
    assert len(now.pop("fg:tickets:q-test")["value"]) == int(now.pop("fg:tickets")["value"]) == 1
    # To 0.1 a receiver's name is a name like any other.
    receivers = "fg:deliveries:hooks.example.com", "fg:deliveries:alice@hooks.example.com:443"
    before = {
        key.replace(*receivers): by_owner(entry)
        for key, entry in DUMP_OF_0_1.items()
        if not key.startswith(TICKETS_OF_0_1)
    }
    assert by_key(now) == by_key(before)
    stamp = {"schema": str(PLAIN), "written_by": own_stamp().written_by}
    succeeded, failed, queued = (now[f"fg:job:{name}"]["value"] for name in ("succeeded", "failed", "queued"))
    assert stamp.items() <= queued.items()
    assert "result_schema" not in queued
    assert succeeded["stored"] == str(VIDEO.size)
    assert "stored" not in queued
    for ended in (succeeded, failed):
        assert {f"result_{name}": value for name, value in stamp.items()}.items() <= ended.items()
    for key, entry in now.items():
        if key.startswith("fg:delivery:"):
            assert stamp.items() <= entry["value"].items()
    assert json.loads(now["fg:character:ann001"]["value"])["schema"] == PLAIN


async def test_what_0_1_stored_is_read(
    of_0_1: None,
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    deliveries: ValkeyDeliveryStore,
) -> None:
    assert await store.get("queued") == replace(full_job("queued"), seq=4)
    running = await store.get("running")
    assert running is not None
    assert running == replace(
        full_job("running"),
        seq=3,
        state=JobState.RUNNING,
        attempt=1,
        worker="worker-running",
        progress=0.5,
        message="sampling",
        started_at=running.started_at,
    )
    succeeded, failed = await store.get("succeeded"), await store.get("failed")
    assert succeeded is not None
    assert (succeeded.state, succeeded.artifacts) == (JobState.SUCCEEDED, (VIDEO,))
    assert failed is not None
    assert (failed.state, failed.error) == (JobState.FAILED, BROKEN)
    assert [job.id for job in await store.list(owner="alice", states=(), limit=9)] == [
        "queued",
        "running",
        "failed",
        "succeeded",
    ]
    active = await store.list(owner="alice", states=[JobState.QUEUED, JobState.RUNNING], limit=9)
    assert [job.id for job in active] == ["queued", "running"]
    assert await characters.list(owner="alice") == [ANN]
    presence = await store.worker_presence()
    assert (presence.workers, presence.last_seen) == ([WORKER], {"test": 0.0})
    delivery = (await deliveries.claim(lease=60)).delivery
    assert delivery is not None
    assert (delivery.job_id, delivery.outcome) == ("succeeded", JobState.SUCCEEDED)
    assert (delivery.url, delivery.attempt) == ("https://hooks.example.com/framegate", 1)


async def test_jobs_of_0_1_run_and_are_removed(
    of_0_1: None,
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
) -> None:
    worker = WorkerStore(client, "w")
    for name in ("queued", "running"):
        job = worker.claim("q-test", ["test"])
        assert job is not None
        assert job.id == name
        assert worker.succeed(job, (VIDEO,)) == JobState.SUCCEEDED
        worker.sweep()  # the worker that ran the other one
        client.zadd("fg:leases", {"running": 0}, xx=True)
        worker.sweep()
    ended = await store.get("running")
    assert ended is not None
    assert (ended.attempt, ended.artifacts) == (2, (VIDEO,))
    await Retention(store, characters, artifacts, files_for=-1, records_for=-1).remove_expired()
    assert await store.list(owner=None, states=(), limit=9) == []
    assert await characters.list(owner=None) == []


def write_as_later_version(client: redis.Redis, key: str, prefix: str = "") -> None:
    newer = {f"{prefix}schema": SCHEMA + 1, f"{prefix}written_by": "9.1.0"}
    client.hset(key, mapping=cast("Any", newer))


@pytest.mark.parametrize("prefix", ["", "result_"])
async def test_a_job_of_a_later_version_is_an_error_that_says_so(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, prefix: str
) -> None:
    await act(store, characters, client)
    write_as_later_version(client, "fg:job:succeeded", prefix)
    with pytest.raises(NewerRecord, match=NEWER):
        await store.get("succeeded")
    with structlog.testing.capture_logs() as logs:
        listed = await store.list(owner="alice", states=(), limit=9)
    assert [job.id for job in listed] == ["queued", "running", "failed"]
    (line,) = logs
    assert (line["event"], line["records"]) == ("records_left_out", 1)
    assert re.search(NEWER, line["reason"])


async def test_a_character_of_a_later_version_is_an_error_that_says_so(
    characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    client.set("fg:character:bob002", json.dumps({"schema": SCHEMA + 1, "written_by": "9.1.0", "face": 1}))
    with pytest.raises(NewerRecord, match=NEWER):
        await characters.get("bob002")
    client.zadd("fg:characters", {"bob002": 1})
    await characters.add(ANN)
    assert await characters.list(owner=None) == [ANN]
    with pytest.raises(NewerRecord, match=NEWER):
        await characters.each()


async def test_a_worker_leaves_jobs_of_a_later_version_to_others(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    for name, owner in (("newer", "alice"), ("behind", "alice"), ("bobs", "bob")):
        await store.submit(make_job(name, owner=owner), limits=Limits())
    write_as_later_version(client, "fg:job:newer")
    before = client.hgetall("fg:job:newer")
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    assert job.id == "bobs"
    worker.succeed(job, ())
    assert worker.claim("q-test", ["test"]) is None, "the lane waits for a worker that can read its head"
    worker.sweep()
    assert client.hgetall("fg:job:newer") == before
    assert client.llen("fg:tickets:q-test") >= 2, "there are tickets for such a worker"


async def test_nothing_of_a_later_version_is_removed(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
) -> None:
    await act(store, characters, client)
    orphan = f"inputs/{'0a' * 16}.png"
    for key in (VIDEO.key, orphan):
        source = artifacts.workdir("x") / "film.mp4"
        source.write_bytes(b"film")
        artifacts.put(source, key)
    write_as_later_version(client, "fg:job:succeeded", "result_")
    before = client.hgetall("fg:job:succeeded")
    assert await Retention(store, characters, artifacts, files_for=-1, records_for=-1).remove_expired() == 1
    assert [job.id for job in await store.list(owner=None, states=(), limit=9)] == ["queued", "running"]
    assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == 0
    assert set(artifacts.keys_older_than(-60)) == {VIDEO.key, orphan, "installation"}
    assert client.hgetall("fg:job:succeeded") == before
    client.hset("fg:job:succeeded", "result_schema", str(SCHEMA))
    with structlog.testing.capture_logs() as logs:
        assert await remove_orphans(store, characters, artifacts, unknown_for=-60) == 1
    [line] = [line for line in logs if "actor" in line]
    assert (line["event"], line["actor"], line["file"]) == ("orphan_removed", "retention", orphan)


async def test_retention_looks_past_many_jobs_of_a_later_version(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(5):
        await store.submit(make_job(f"j{number}"), limits=Limits())
        await store.cancel(f"j{number}")
        if number < 4:
            write_as_later_version(client, f"fg:job:j{number}")
    monkeypatch.setattr(expiry, "BATCH", 2)
    retention = Retention(store, characters, artifacts, files_for=-1, records_for=60)
    assert await retention.remove_expired() == 1
    assert client.zrange("fg:records", 0, -1) == ["j4"]
    client.delete("fg:job:j4")
    assert await retention.remove_expired() == 0
    assert client.zcard("fg:finished") == 4, "they are left to a host that can read them"


async def test_deliveries_of_a_later_version_are_passed_over(
    store: ValkeyJobStore, deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    for name in ("newer", "older"):
        job = replace(make_job(name), webhooks=(f"https://{name}.example.com/",))
        await store.submit(job, limits=Limits())
        claimed = worker.claim("q-test", ["test"])
        assert claimed is not None
        worker.succeed(claimed, ())
    keys = cast("list[str]", client.keys("fg:delivery:*"))
    (key,) = (key for key in keys if client.hget(key, "job_id") == "newer")
    write_as_later_version(client, key)
    before = client.hgetall(key)
    delivery = (await deliveries.claim(lease=60)).delivery
    assert delivery is not None
    assert delivery.job_id == "older"
    assert (await deliveries.claim(lease=60)).delivery is None
    assert client.hgetall(key) == before


def test_migrations_lead_from_every_schema_to_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA", 4)

    def rename(record: dict[str, Any]) -> dict[str, Any]:
        return {"steps": record["path"]}

    def split(record: dict[str, Any]) -> dict[str, Any]:
        return {"steps": record["steps"].split("/")}

    layout = Layout(dict[str, list[str]], rename, unchanged, split)
    for number, text in ((1, '{"path": "a/b"}'), (2, '{"steps": "a/b"}'), (3, '{"steps": "a/b"}')):
        assert layout.decode(text, Stamp(number)) == {"steps": ["a", "b"]}
    assert layout.decode('{"steps": ["a", "b"]}', Stamp(4)) == {"steps": ["a", "b"]}
    with pytest.raises(NewerRecord):
        layout.decode('{"steps": 2}', Stamp(5, "9.1.0"))
