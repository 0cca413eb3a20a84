"""Tickets and leases, as workers use them."""

import pytest
import redis
from msgspec.structs import replace

from framegate.core.ports import Limits, WorkerInfo
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
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
    assert dead.heartbeat(job.id, job.attempt) == LeaseStatus.OK
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
    worker.announce(WORKER)
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
    worker.announce(WORKER)
    client.zincrby(f"{PREFIX}seen", -31 * 86_400, "wan")
    worker.announce(replace(WORKER, models=("preview",)))
    worker.withdraw()
    assert (await store.worker_presence()).last_seen.keys() == {"preview"}
