"""Tickets and leases, as workers use them."""

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.jobs import JobState
from framegate.core.ports import Limits, WorkerInfo
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import (
    LEASE_SECONDS,
    SILENCE_SECONDS,
    LeaseStatus,
    RunningJob,
    WorkerStore,
)
from tests.support.external_valkey import ExternalValkey
from tests.support.heartbeats import heartbeat
from tests.support.running import eventually
from tests.support.sample_jobs import make_job

WORKER = WorkerInfo("w", "here", 1, "cpu", "0", ("wan", "preview"), 0.0)


async def test_sweep_replaces_a_lost_ticket(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.submit(make_job("a"), limits=Limits())
    client.delete(f"{PREFIX}tickets:q-test")
    worker = WorkerStore(client, "w")
    assert worker.sweep() == (0, 1)
    assert worker.sweep() == (0, 0)
    assert client.llen(f"{PREFIX}tickets:q-test") == 1


async def test_lease_lets_a_dead_workers_job_go(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.submit(make_job("a"), limits=Limits())
    dead, alive = WorkerStore(client, "dead"), WorkerStore(client, "alive")
    job = dead.claim("q-test", ["test"])
    assert job is not None
    assert alive.sweep()[0] == 0
    monkeypatch.setattr("framegate.storage.jobs.worker_store.LEASE_SECONDS", -1.0)
    assert heartbeat(dead, job.id, job.attempt) == LeaseStatus.OK
    assert alive.sweep()[0] == 1
    again = alive.claim("q-test", ["test"])
    assert again is not None
    assert (again.id, again.attempt) == ("a", 2)
    assert dead.succeed(job, ()) is None, "the dead worker's result is not wanted any more"


async def test_models_are_remembered_after_their_worker_has_left(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    assert (await store.worker_presence()).last_seen == {}
    worker.heartbeat([], info=WORKER)
    presence = await store.worker_presence()
    assert (presence.workers, presence.last_seen) == ([WORKER], {"wan": 0.0, "preview": 0.0})
    worker.withdraw()
    client.zincrby(f"{PREFIX}seen", -100, "wan")
    presence = await store.worker_presence()
    assert presence.workers == []
    assert presence.last_seen["wan"] == pytest.approx(100, abs=60)
    assert presence.last_seen["preview"] == pytest.approx(0, abs=60)
    assert client.ttl(f"{PREFIX}seen") == -1


async def test_what_was_not_served_for_long_is_forgotten(store: ValkeyJobStore, client: redis.Redis) -> None:
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WORKER)
    worker.withdraw()
    client.zincrby(f"{PREFIX}seen", -31 * 86_400, "wan")
    worker.heartbeat([], info=replace(WORKER, models=("preview",)))
    worker.withdraw()
    assert (await store.worker_presence()).last_seen.keys() == {"preview"}


LET_PASS = """
local prefix, seconds = KEYS[1], tonumber(ARGV[1])
for _, key in ipairs({'swept', 'mended'}) do redis.call('INCRBYFLOAT', prefix .. key, -seconds) end
for _, id in ipairs(redis.call('ZRANGE', prefix .. 'leases', 0, -1)) do
  local lease = redis.call('ZSCORE', prefix .. 'leases', id)
  local extended = redis.call('HGET', prefix .. 'job:' .. id, 'extended')
  redis.call('ZINCRBY', prefix .. 'leases', -seconds, id)
  if extended == lease then
    redis.call('HSET', prefix .. 'job:' .. id, 'extended', redis.call('ZSCORE', prefix .. 'leases', id))
  end
end
"""


async def test_sweeps_that_are_always_late_find_a_dead_worker(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """After each silence its worker may come back, but only once for each lease that it took itself."""
    let_pass = client.register_script(LET_PASS)
    await store.submit(make_job("a"), limits=Limits())
    dead, alive = WorkerStore(client, "dead"), WorkerStore(client, "alive")
    assert dead.claim("q-test", ["test"]) is not None
    assert alive.sweep(interval=1.0)[0] == 0
    lost: list[int] = []
    for _ in range(4):
        let_pass(keys=[PREFIX], args=[SILENCE_SECONDS + 0.2])
        lost.append(alive.sweep(interval=1.0)[0])
    assert lost == [0, 0, 1, 0]
    again = alive.claim("q-test", ["test"])
    assert again is not None
    for _ in range(4):
        assert heartbeat(alive, again.id, again.attempt) == LeaseStatus.OK
        let_pass(keys=[PREFIX], args=[LEASE_SECONDS + 1])
        assert dead.sweep(interval=1.0)[0] == 0, "a worker that lives has another lease after every silence"


async def test_a_lease_does_not_outlive_a_clock_that_was_put_back(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Valkey's clock went back by an hour just when the worker died."""
    await store.submit(make_job("a"), limits=Limits())
    dead, alive = WorkerStore(client, "dead"), WorkerStore(client, "alive")
    assert dead.claim("q-test", ["test"]) is not None
    client.zadd(f"{PREFIX}leases", {"a": time.time() + 3606})
    for key in ("swept", "mended"):
        client.set(f"{PREFIX}{key}", time.time() + 3600)
    assert alive.heartbeat([]).sweep_due
    assert alive.sweep(interval=1.0) == (0, 0)
    lease = client.zscore(f"{PREFIX}leases", "a")
    assert lease is not None
    assert float(lease) <= time.time() + LEASE_SECONDS
    assert float(client.get(f"{PREFIX}swept") or 0) <= time.time()
    assert not alive.heartbeat([]).sweep_due


async def test_a_job_without_a_record_does_not_stop_the_sweep(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    for name in ("a", "b"):
        await store.submit(make_job(name), limits=Limits())
        assert WorkerStore(client, name).claim("q-test", ["test"]) is not None
    client.delete(f"{PREFIX}job:a")
    client.zadd(f"{PREFIX}leases", {"a": 1, "b": 1})
    client.set(f"{PREFIX}swept", 1)
    sweeping = WorkerStore(client, "w")
    assert sweeping.sweep()[0] == 1, "after a silence the one with a record has another lease"
    client.zadd(f"{PREFIX}leases", {"b": 1})
    assert sweeping.sweep()[0] == 1
    assert client.exists(f"{PREFIX}leases") == 0


async def test_one_beat_renews_many_leases(store: ValkeyJobStore, client: redis.Redis) -> None:
    for name in ("a", "b", "c"):
        await store.submit(make_job(name), limits=Limits())
        client.delete(f"{PREFIX}holds:w")
        assert WorkerStore(client, "w").claim("q-test", ["test"]) is not None
    await store.cancel("b")
    client.zadd(f"{PREFIX}leases", {"a": 1, "b": 1, "c": 1})
    reply = WorkerStore(client, "w").heartbeat(
        [RunningJob("a", 1, 0.5, "half"), RunningJob("b", 1), RunningJob("c", 2), RunningJob("d", 1)]
    )
    assert reply.statuses == [LeaseStatus.OK, LeaseStatus.CANCEL, LeaseStatus.LOST, LeaseStatus.LOST]
    leases = dict(cast("list[tuple[str, float]]", client.zrange(f"{PREFIX}leases", 0, -1, withscores=True)))
    assert {name for name, lease in leases.items() if lease > 1} == {"a", "b"}
    job = await store.get("a")
    assert job is not None
    assert (job.progress, job.message) == (0.5, "half")


async def test_a_worker_is_told_to_stop_on_its_own_channel(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """And on that of 0.1, whose workers share one."""
    for name in ("cancelled", "deleted"):
        await store.submit(make_job(name), limits=Limits())
    workers = {name: WorkerStore(client, f"w-{name}") for name in ("cancelled", "deleted")}
    for worker in workers.values():
        assert worker.claim("q-test", ["test"]) is not None
    with client.pubsub(ignore_subscribe_messages=True) as listening:  # type: ignore[no-untyped-call]  # untyped
        listening.subscribe(f"{PREFIX}cancel", *(worker.channel for worker in workers.values()))
        await store.cancel("cancelled")
        await store.delete("deleted")
        heard: set[tuple[str, str]] = set()
        while len(heard) < 4:
            message = cast("dict[str, str] | None", listening.get_message(timeout=10))
            if message:
                heard.add((message["channel"], message["data"]))
    own = {(worker.channel, name) for name, worker in workers.items()}
    assert heard == own | {(f"{PREFIX}cancel", name) for name in workers}


async def test_what_holds_for_seconds_is_not_written_to_disk(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """While a job runs, each second would otherwise cost its server a sync or two."""
    await store.submit(make_job("a"), limits=Limits())
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    worker.sweep()
    before = _written(client)
    for step in range(20):
        assert heartbeat(worker, job.id, job.attempt, step / 20, "drawing") == LeaseStatus.OK
        assert worker.sweep()[0] == 0
    assert _written(client) == before
    now = await store.get("a")
    assert now is not None
    assert (now.progress, now.message) == (0.95, "drawing")


def _written(client: redis.Redis) -> int:
    return int(client.info("persistence")["aof_current_size"])


async def test_a_replica_that_takes_over_at_once_takes_nobody_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the leases as they were when the jobs were claimed."""
    monkeypatch.setattr("framegate.storage.jobs.worker_store.LEASE_SECONDS", 0.5)
    at_once = {"repl-diskless-sync-delay": "0"}
    primary, replica = (ExternalValkey(tmp_path / name, options=at_once) for name in ("primary", "replica"))
    store = ValkeyJobStore(connect_async(primary.url))
    with connect(primary.url) as client, connect(replica.url) as promoted:
        promoted.replicaof("127.0.0.1", str(primary.port))
        eventually(lambda: promoted.info("replication")["master_link_status"] == "up", what="its copy")
        await store.submit(make_job("a"), limits=Limits())
        worker = WorkerStore(client, "w")
        job = worker.claim("q-test", ["test"])
        assert job is not None
        claimed_at = time.monotonic()
        while time.monotonic() < claimed_at + SILENCE_SECONDS + 0.5:
            assert heartbeat(worker, job.id, job.attempt) == LeaseStatus.OK
            assert worker.sweep()[0] == 0
            await asyncio.sleep(0.2)
        assert client.wait(1, 5000) == 1
        primary.kill()
        promoted.replicaof("NO", "ONE")
        monkeypatch.setattr("framegate.storage.jobs.worker_store.LEASE_SECONDS", LEASE_SECONDS)
        taking_over = WorkerStore(promoted, "w")
        assert taking_over.sweep()[0] == 0
        assert heartbeat(taking_over, job.id, job.attempt) == LeaseStatus.OK
        assert taking_over.succeed(job, ()) == JobState.SUCCEEDED
    await store.close()
    replica.kill()
