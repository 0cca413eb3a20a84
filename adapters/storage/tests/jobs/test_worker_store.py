"""Tickets and leases, as workers use them."""

import pytest
import redis

from framegate.core.ports import Limits
from framegate.storage.jobs.records import DRAMATIQ_NAMESPACE
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from tests.support.sample_jobs import make_job


async def test_sweep_replaces_a_lost_ticket(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.submit(make_job("a"), limits=Limits())
    client.delete(f"{DRAMATIQ_NAMESPACE}:q-test", f"{DRAMATIQ_NAMESPACE}:q-test.msgs")
    worker = WorkerStore(client, "w")
    assert worker.sweep() == (0, 1)
    assert worker.sweep() == (0, 0)
    assert client.llen(f"{DRAMATIQ_NAMESPACE}:q-test") == 1


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
