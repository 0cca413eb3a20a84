"""Paused models and drained workers: nothing starts, nothing is polled for, and nothing is lost."""

import json
import time
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.ports import Limits, ModelRequest, WorkerInfo
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LEASE_SECONDS, WorkerStore
from tests.support.sample_jobs import make_job

TICKETS = "fg:tickets:q-test"
WORKER = WorkerInfo("w", "gpu1", 7, "cuda:0", "0.2", ("test", "other"), 0.0)


async def submit(store: ValkeyJobStore, name: str, model: str = "test", priority: int = 0) -> None:
    await store.submit(make_job(name, served_by=model, priority=priority), limits=Limits())


def claim(client: redis.Redis, worker: str, *models: str) -> str | None:
    job = WorkerStore(client, worker).claim("q-test", models or ["test"])
    return job.id if job else None


async def test_a_paused_model_has_no_tickets_until_it_is_resumed(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "before")
    await store.operations.pause_model("test")
    await submit(store, "after")
    assert client.llen(TICKETS) == 0
    assert claim(client, "w") is None
    assert WorkerStore(client, "w").sweep() == (0, 0)
    assert client.llen(TICKETS) == 0, "no worker looks for what it may not start"
    assert list((await store.operations.held_back()).paused) == ["test"]
    await store.operations.resume_model("test")
    assert client.llen(TICKETS) == 2
    assert [claim(client, worker) for worker in "ab"] == ["before", "after"]


async def test_the_other_models_of_its_queue_go_on(store: ValkeyJobStore, client: redis.Redis) -> None:
    await submit(store, "first", priority=9)
    await store.operations.pause_model("test")
    await submit(store, "second", "other")
    assert client.llen(TICKETS) >= 1
    assert claim(client, "w", "test", "other") == "second"
    client.delete(TICKETS)
    assert claim(client, "v", "other") is None
    assert client.llen(TICKETS) == 0, "what is paused is not work for other workers"


async def test_jobs_that_another_version_has_queued_keep_their_tickets(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await submit(store, "a")
    for index in ("buckets", "bucket", "levels", "waiting"):  # which 0.1 doesn't keep
        client.delete(*cast("list[str]", client.keys(f"fg:{index}:*")))
    await store.operations.pause_model("other")
    assert client.llen(TICKETS) == 1
    assert claim(client, "w") == "a"


async def test_what_runs_goes_on(store: ValkeyJobStore, client: redis.Redis) -> None:
    worker = WorkerStore(client, "w")
    await submit(store, "a")
    job = worker.claim("q-test", ["test"])
    await store.operations.pause_model("test")
    assert job is not None
    assert worker.claim("q-test", ["test"]) == job, "the reply to the first claim was lost"
    assert worker.requeue("a", 1) == "queued"
    assert client.llen(TICKETS) == 0
    assert claim(client, "v") is None


async def test_a_drained_worker_leaves_its_ticket_to_another(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    drained = WorkerStore(client, "w", names=["gpu1", "gpu1/cuda:0"])
    for name in ("w", "gpu1", "gpu1/cuda:0"):
        assert not drained.is_drained()
        await store.operations.drain_worker(name)
        await submit(store, f"for {name}")
        assert drained.is_drained()
        client.lpop(TICKETS)
        assert drained.claim("q-test", ["test"]) is None
        assert client.llen(TICKETS) == 1
        assert claim(client, f"other than {name}") == f"for {name}"
        await store.operations.resume_worker(name)
    await submit(store, "last")
    assert drained.claim("q-test", ["test"]) is not None


async def test_what_is_drained_by_its_id_is_forgotten_with_it(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    await store.operations.drain_worker("w")
    await store.operations.drain_worker("gpu1")
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WORKER)
    assert [info.id for info in (await store.worker_presence()).workers] == ["w"], "it lives"
    worker.withdraw()
    assert list((await store.operations.held_back()).drained) == ["gpu1"]


async def test_a_drained_worker_that_was_out_of_reach_is_still_drained(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """It was taken for dead, as after each restart of Valkey, until it subscribes again."""
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WORKER, listens=True)
    await store.operations.drain_worker("w")
    worker.sweep()
    assert not (await store.worker_presence()).workers
    worker.heartbeat([], info=WORKER)
    assert worker.is_drained()


async def test_drained_workers_that_died_are_forgotten_later(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    dead, alive, host = "0" * 32, "1" * 32, "gpu1"
    for name in (dead, alive, host):
        await store.operations.drain_worker(name)
    WorkerStore(client, alive).heartbeat([], info=replace(WORKER, id=alive))
    await store.operations.resume_worker("another")
    assert set((await store.operations.held_back()).drained) == {dead, alive, host}
    client.hset("fg:drained", mapping={name: time.time() - 86401 for name in (dead, alive, host)})
    await store.operations.resume_worker("another")
    assert set((await store.operations.held_back()).drained) == {alive, host}


async def test_a_thousand_waiting_owners_are_not_looked_at(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Only what models need tells whether a queue is held back, not who waits."""
    for number in range(300):
        await store.submit(make_job(f"job-{number}", owner=f"o{number}"), limits=Limits())
    await store.operations.pause_model("test")

    def calls() -> int:
        stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
        return sum(each["calls"] for each in stats.values())

    before = calls()
    await submit(store, "one more")
    assert calls() - before < 80


async def test_workers_that_listen_are_told_that_models_were_requested(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WORKER, listens=True)
    with client.pubsub() as listener:  # type: ignore[no-untyped-call]  # untyped in redis-py
        listener.subscribe(worker.channel)
        assert cast("dict[str, str]", listener.get_message(timeout=10))["type"] == "subscribe"
        await store.operations.request_model("test", load=True)
        assert cast("dict[str, str]", listener.get_message(timeout=10))["data"] == ":model_requests"
        await store.operations.request_model("other", load=True)
        await store.operations.request_model("test", load=False)
        found = [(each.model, each.number, each.load) for each in worker.model_requests()]
    assert found == [("other", 2, True), ("test", 3, False)], "the latest of each model, in order"
    stored = await store.operations.model_requests()
    assert [(name, each.number) for name, each in stored.items()] == [("other", 2), ("test", 3)]
    assert abs(stored["test"].at - time.time()) < 60


class Loads:
    """Workers that begin a load which an operator has requested, and a clock that tests put forward."""

    def __init__(self, store: ValkeyJobStore, client: redis.Redis) -> None:
        self._store, self._client = store, client

    def worker(self, name: str) -> WorkerStore:
        return WorkerStore(self._client, name, names=[f"{name}-host/cuda:0"])

    async def request(self) -> ModelRequest:
        return (await self._store.operations.model_requests())["test"]

    async def begin(self, name: str) -> str:
        return self.worker(name).begin_load(await self.request())

    def beat(self, name: str) -> None:
        self.worker(name).heartbeat([], info=replace(WORKER, id=name))

    def wait(self, seconds: float, *, asking: bool = True) -> None:
        """Make all that is noted of workers older; with ``asking``, somebody asked again a second ago."""
        beats = "fg:begun_loads:beats"
        for name, beat in cast("list[tuple[str, float]]", self._client.zrange(beats, 0, -1, withscores=True)):
            self._client.zadd(beats, {name: beat - seconds})
        for name, text in cast("dict[str, str]", self._client.hgetall("fg:begun_loads:doubts")).items():
            doubt = json.loads(text)
            asked = time.time() - 1 if asking else doubt["asked"] - seconds
            doubt = {"since": doubt["since"] - seconds, "asked": asked}
            self._client.hset("fg:begun_loads:doubts", name, json.dumps(doubt))


@pytest.fixture
async def loads(store: ValkeyJobStore, client: redis.Redis) -> Loads:
    await store.operations.request_model("test", load=True)
    return Loads(store, client)


async def test_nobody_repeats_a_load_during_which_a_worker_died(loads: Loads) -> None:
    """It may well have been the load that killed it, and would kill the next one."""
    asked = await loads.request()
    assert await loads.begin("dead") == "begin"
    assert await loads.begin("next") == "wait", "nobody listens to its channel"
    loads.wait(LEASE_SECONDS)
    busy = loads.worker("busy")
    assert busy.begin_load(asked) == "drop"
    given_up = await loads.request()
    assert "A worker on dead-host/cuda:0 ended while it loaded the model" in given_up.problem
    assert (given_up.load, given_up.number) == (False, 2), "workers that know the request take notice"
    assert await loads.begin("next") == "drop"


async def test_the_dead_of_an_earlier_request_count_no_more(loads: Loads, store: ValkeyJobStore) -> None:
    request = await loads.request()
    assert loads.worker("first").begin_load(request) == "begin"
    assert loads.worker("next").begin_load(request) == "wait"
    await store.operations.request_model("test", load=True)
    assert await loads.begin("next") == "begin"


async def test_workers_that_live_load_at_the_same_time(loads: Loads, client: redis.Redis) -> None:
    assert await loads.begin("first") == "begin"
    with client.pubsub() as listener:  # type: ignore[no-untyped-call]  # untyped in redis-py
        listener.subscribe("fg:worker:first")
        assert listener.get_message(timeout=10) is not None
        assert await loads.begin("second") == "begin"
        loads.wait(LEASE_SECONDS)
        assert await loads.begin("third") == "wait", "its host may be without power, and its socket open"


async def test_a_restart_of_valkey_takes_nobody_for_dead(loads: Loads) -> None:
    """Workers subscribe again one after the other, and are heard again within seconds."""
    assert await loads.begin("living") == "begin"
    assert await loads.begin("next") == "wait"
    loads.wait(3600, asking=False)
    assert await loads.begin("next") == "wait", "nobody could be heard meanwhile"
    loads.wait(1)
    loads.beat("living")
    assert await loads.begin("next") == "begin"
    assert not (await loads.request()).problem


async def test_a_host_that_was_lost_without_a_word_repeats_nothing(loads: Loads, client: redis.Redis) -> None:
    """Its announcement has expired by the time it is back."""
    loads.beat("dead")
    assert await loads.begin("dead") == "begin"
    client.delete("fg:worker:dead")
    loads.wait(3600)
    assert await loads.begin("next") == "wait"
    loads.wait(LEASE_SECONDS)
    assert await loads.begin("next") == "drop"


async def test_a_load_that_was_survived_or_left_is_no_reason(loads: Loads) -> None:
    for leave in (WorkerStore.end_load, WorkerStore.withdraw):
        assert await loads.begin("worker") == "begin"
        leave(loads.worker("worker"))
        assert await loads.begin("next") == "begin"
        loads.worker("next").end_load()


async def test_a_request_that_was_replaced_is_not_begun(loads: Loads, store: ValkeyJobStore) -> None:
    before = await loads.request()
    await store.operations.request_model("test", load=False)
    assert loads.worker("w").begin_load(before) == "drop"
    await store.operations.request_model("test", load=True)
    assert await loads.begin("w") == "begin"


async def test_a_damaged_request_is_left_out(store: ValkeyJobStore, client: redis.Redis) -> None:
    await store.operations.request_model("test", load=True)
    client.hset("fg:model_requests", mapping={"a": "nonsense", "b": '{"number": "x"}'})
    assert list(await store.operations.model_requests()) == ["test"]
    assert [each.model for each in WorkerStore(client, "w").model_requests()] == ["test"]
