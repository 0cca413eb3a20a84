"""Tickets: as few as wake enough workers, none left over, none lost for long."""

import time
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.jobs import JobError
from framegate.core.ports import Limits, WorkerInfo
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import NextClaim, WorkerStore
from framegate.storage.schema import SCHEMA
from tests.support.sample_jobs import make_job

MOST = 32
QUEUE = f"{PREFIX}tickets:q-test"
OLD = f"{PREFIX}dq"


async def submit(store: ValkeyJobStore, count: int) -> None:
    for number in range(count):
        await store.submit(make_job(f"job-{number}"), limits=Limits())


async def test_a_burst_has_few_tickets_and_each_claim_pushes_another(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, 40)
    assert client.llen(QUEUE) == MOST
    for taken in range(1, 41):
        assert client.lpop(QUEUE) is not None, "there is one for each worker that comes"
        assert WorkerStore(client, f"w{taken}").claim("q-test", ["test"]) is not None
        assert client.llen(QUEUE) == min(MOST, 40 - taken)


async def test_one_ticket_is_enough_to_wake_all_workers(store: ValkeyJobStore, client: redis.Redis) -> None:
    """What 0.1 submits has no ticket of ours but those that the sweep pushes."""
    await submit(store, 5)
    client.delete(QUEUE)
    assert WorkerStore(client, "w").sweep() == (0, 5)
    client.ltrim(QUEUE, 0, 0)
    for number in range(5):
        assert client.lpop(QUEUE) is not None
        assert WorkerStore(client, f"w{number}").claim("q-test", ["test"]) is not None
    assert client.llen(QUEUE) == 0


async def test_the_end_of_a_job_takes_the_next_ticket_in_one_call(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Of the first queue that has one, as a claim would, and again the same job if the reply was lost."""
    await submit(store, 2)
    await store.submit(make_job("other", queue="q-other"), limits=Limits())
    worker = WorkerStore(client, "w")
    client.lpop(QUEUE)
    job = worker.claim("q-test", ["test"])
    taken: list[tuple[str, str]] = []
    while job is not None:
        client.config_resetstat()
        then = NextClaim(["q-empty", "q-other", "q-test"], ["test"])
        assert worker.succeed(job, (), then=then) == "succeeded"
        stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
        ran = stats["cmdstat_evalsha"]
        assert ran["calls"] - ran["failed_calls"] == 1
        if then.job is not None:
            taken.append((then.queue, then.job.id))
            again = NextClaim(["q-test"], ["test"])
            assert worker.succeed(job, (), then=again) == "succeeded"
            assert (again.queue, again.job) == ("", then.job)
        job = then.job
    assert taken == [("q-other", "other"), ("q-test", "job-1")]
    assert client.llen(QUEUE) == 0


async def test_the_end_of_a_job_leaves_tickets_that_others_hold_or_that_are_not_for_it(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """A worker that waits for a ticket gets the job, and one that is drained takes none."""
    await submit(store, 4)
    worker = WorkerStore(client, "w", names=["gpu1"])
    first = worker.claim("q-test", ["test"])
    assert first is not None
    tickets = client.lrange(QUEUE, 0, -1)
    client.delete(QUEUE)
    then = NextClaim(["q-test"], ["test"])
    assert worker.succeed(first, (), then=then) == "succeeded"
    assert (then.queue, then.job) == ("", None)
    client.rpush(QUEUE, *tickets)
    second = worker.claim("q-test", ["test"])
    assert second is not None
    await store.operations.drain_worker("gpu1")
    left = client.llen(QUEUE)
    assert worker.succeed(second, (), then=then) == "succeeded"
    assert (then.queue, then.job, client.llen(QUEUE)) == ("", None, left)
    await store.operations.resume_worker("gpu1")
    third = worker.claim("q-test", ["test"])
    assert third is not None
    assert worker.succeed(third, (), then=NextClaim(["q-test"], ["other"])) == "succeeded"
    assert client.hget(f"{PREFIX}job:job-3", "state") == "queued"
    assert client.llen(QUEUE) > 0, "the ticket is there for a worker that has the model"


async def test_a_job_that_ends_otherwise_leads_to_no_other_one(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Its worker removes what it has made first; and one that stops asks for what it was given already."""
    await submit(store, 3)
    worker = WorkerStore(client, "w")
    client.lpop(QUEUE)
    cancelled = worker.claim("q-test", ["test"])
    assert cancelled is not None
    await store.cancel(cancelled.id)
    tickets, then = client.llen(QUEUE), NextClaim(["q-test"], ["test"])
    assert worker.succeed(cancelled, (), then=then) == "cancelled"
    assert (then.queue, then.job, client.llen(QUEUE)) == ("", None, tickets)
    client.lpop(QUEUE)
    second = worker.claim("q-test", ["test"])
    assert second is not None
    nothing = NextClaim([], ["test"])
    assert worker.succeed(second, (), then=nothing) == "succeeded"
    assert (nothing.queue, nothing.job) == ("", None)
    assert worker.succeed(second, (), then=then) == "succeeded"
    assert then.job is not None
    assert worker.succeed(second, (), then=nothing) == "succeeded"
    assert nothing.job == then.job, "the reply with it was lost"


async def test_a_next_job_that_cannot_be_read_is_ended(store: ValkeyJobStore, client: redis.Redis) -> None:
    await submit(store, 3)
    client.hset(f"{PREFIX}job:job-1", "job", "{")
    worker = WorkerStore(client, "w")
    client.lpop(QUEUE)
    job = worker.claim("q-test", ["test"])
    assert job is not None
    then = NextClaim(["q-test"], ["test"])
    worker.succeed(job, (), then=then)
    assert then.job is not None
    assert then.job.id == "job-2"
    assert client.hget(f"{PREFIX}job:job-1", "state") == "failed"


@pytest.mark.parametrize("leave", ["cancel", "delete"])
async def test_a_job_that_no_longer_waits_leaves_no_ticket(
    store: ValkeyJobStore, client: redis.Redis, leave: str
) -> None:
    await submit(store, 3)
    for number in (1, 0, 2):
        await getattr(store, leave)(f"job-{number}")
    assert client.llen(QUEUE) == 0


async def test_the_sweep_drops_what_0_1_leaves_when_it_cancels(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, 3)
    for _ in range(5):
        client.rpush(QUEUE, "one of a job that was cancelled")
    assert WorkerStore(client, "w").sweep() == (0, 0)
    assert client.llen(QUEUE) == 3


async def test_nothing_is_left_of_a_queue_in_which_nothing_waits(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, 1)
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])  # without its ticket
    assert job is not None
    worker.sweep()
    assert client.exists(QUEUE, f"{PREFIX}queues") == 0
    worker.requeue(job.id, job.attempt)
    assert client.llen(QUEUE) == 1
    assert client.smembers(f"{PREFIX}queues") == {"q-test"}


@pytest.mark.parametrize(("models", "schema"), [(["other"], SCHEMA), (["test"], 0)])
async def test_a_worker_that_cannot_take_a_job_passes_its_ticket_on(
    store: ValkeyJobStore,
    client: redis.Redis,
    models: list[str],
    schema: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many with other models, or of an older version, come before one that can."""
    await submit(store, 1)
    with monkeypatch.context() as others:
        others.setattr("framegate.storage.jobs.worker_store.SCHEMA", schema)
        for number in range(5):
            assert client.lpop(QUEUE) is not None
            assert WorkerStore(client, f"w{number}").claim("q-test", models) is None
    assert client.llen(QUEUE) == 1
    assert WorkerStore(client, "able").claim("q-test", ["test"]) is not None


async def test_nobody_passes_on_a_ticket_that_no_worker_could_use(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Whoever leaves its place in a full group pushes another one."""
    for number in range(3):
        job = replace(make_job(f"job-{number}"), running_limits={"model:test": 1})
        await store.submit(job, limits=Limits())
    first = WorkerStore(client, "w").claim("q-test", ["test"])
    assert first is not None
    client.delete(QUEUE)
    for number in range(3):
        assert WorkerStore(client, f"w{number}").claim("q-test", ["other"]) is None
    assert client.llen(QUEUE) == 0
    WorkerStore(client, "w").requeue(first.id, first.attempt)
    assert client.llen(QUEUE) >= 1


@pytest.mark.parametrize("was_limited", [True, False])
async def test_an_owners_jobs_in_other_queues_get_a_ticket_when_its_limit_allows_them(
    store: ValkeyJobStore, client: redis.Redis, was_limited: bool
) -> None:
    """Also when the limit is newer than the job that ends."""
    job = make_job("running")
    limits = {f"key:{job.owner}": 1}
    await store.submit(replace(job, running_limits=limits if was_limited else {}), limits=Limits())
    worker = WorkerStore(client, "w")
    running = worker.claim("q-test", ["test"])
    assert running is not None
    waiting = replace(make_job("waiting"), queue="q-elsewhere", running_limits=limits)
    await store.submit(waiting, limits=Limits())
    elsewhere = f"{PREFIX}tickets:q-elsewhere"
    assert client.lpop(elsewhere) is not None
    assert worker.claim("q-elsewhere", ["test"]) is not None  # the same job: it is held
    assert WorkerStore(client, "idle").claim("q-elsewhere", ["test"]) is None
    assert client.llen(elsewhere) == 0
    worker.fail(running.id, running.attempt, JobError("generation_failed", "no"))
    assert client.llen(elsewhere) == 1
    assert WorkerStore(client, "idle").claim("q-elsewhere", ["test"]) is not None


async def test_an_idle_queue_is_not_written_to(store: ValkeyJobStore, client: redis.Redis) -> None:
    """Whatever is asked of it: there is nothing to sync."""
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WorkerInfo("w", "here", 1, "cpu", "0", ("test",), 0.0))
    await submit(store, 1)
    job = worker.claim("q-test", ["test"])
    assert job is not None
    worker.fail(job.id, job.attempt, JobError("generation_failed", "no"))
    await store.sweep()
    written = _written(client)
    for _ in range(5):
        assert not worker.heartbeat([]).sweep_due
        assert worker.sweep(interval=1.0) == (0, 0)
        await store.sweep(interval=1.0)
        await store.worker_presence()
        await store.counts()
    assert _written(client) == written


async def test_whoever_asks_first_sweeps_for_all(store: ValkeyJobStore, client: redis.Redis) -> None:
    await submit(store, 1)
    one, other = WorkerStore(client, "one"), WorkerStore(client, "other")
    client.delete(QUEUE)
    assert one.heartbeat([]).sweep_due
    assert other.heartbeat([]).sweep_due
    assert one.sweep(interval=1.0) == (0, 1)
    client.delete(QUEUE)
    assert not other.heartbeat([]).sweep_due
    assert other.sweep(interval=1.0) == (0, 0)
    client.set(f"{PREFIX}mended", time.time() - 1.1)
    assert other.heartbeat([]).sweep_due
    assert other.sweep(interval=1.0) == (0, 1)


async def test_sweeps_of_0_1_leave_our_tickets_to_us(store: ValkeyJobStore, client: redis.Redis) -> None:
    """It sweeps every second, and pushes tickets that only its own workers take."""
    await submit(store, 1)
    client.delete(QUEUE)
    client.set(f"{PREFIX}swept", time.time())
    worker = WorkerStore(client, "w")
    assert worker.heartbeat([]).sweep_due
    assert worker.sweep(interval=1.0) == (0, 1)


async def test_tickets_of_0_1_go_with_its_last_worker(store: ValkeyJobStore, client: redis.Redis) -> None:
    """As long as one is announced it keeps its own; an API of 0.1 pushes some with each submission."""
    old = WorkerStore(client, "old")
    old.heartbeat([], info=WorkerInfo("old", "here", 1, "cpu", "0.1.0", ("test",), 0.0))
    await submit(store, 1)
    client.zadd(f"{OLD}:__heartbeats__", {"d": 1})
    client.sadd(f"{OLD}:__acks__.d.q-test", "t1")
    client.rpush(f"{OLD}:q-test", "t1", "t2")
    client.hset(f"{OLD}:q-test.msgs", mapping={"t1": "{}", "t2": "{}"})
    await store.sweep()
    assert client.llen(f"{OLD}:q-test") == 2
    client.delete(f"{PREFIX}worker:old")
    await store.sweep()
    left = cast("list[str]", client.keys(f"{OLD}:*"))
    assert left == [f"{OLD}:__heartbeats__"]


def _written(client: redis.Redis) -> int:
    """How many bytes Valkey has appended to its log."""
    return int(client.info("persistence")["aof_current_size"])
