"""Which workers are alive: those that listen to their channel, as long as they do."""

import time
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.ports import WorkerInfo
from framegate.storage.connections import connect
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import ANNOUNCEMENT_SECONDS, WorkerStore
from tests.support.running import eventually

WORKER = WorkerInfo("w", "here", 1, "cpu", "0", ("wan", "preview"), 0.0)


class Listening:
    """A worker that listens to its channel on a connection of its own, as its heartbeat process does."""

    def __init__(self, valkey: EmbeddedValkey, info: WorkerInfo = WORKER) -> None:
        self.info = info
        self._client = connect(valkey.url)
        self.store = WorkerStore(self._client, info.id)
        self._subscription = self._client.pubsub()  # type: ignore[no-untyped-call]  # untyped in redis-py
        self._subscription.subscribe(self.store.channel)
        self.announce()

    def announce(self) -> None:
        assert self.store.heartbeat([], info=self.info, listens=True).announced

    def die(self) -> None:
        """End without a word; its sockets are closed."""
        self._subscription.close()
        self._client.close()


async def test_many_dead_workers_are_forgotten_in_one_go(store: ValkeyJobStore, client: redis.Redis) -> None:
    """As after a restart of Valkey, whose first sweep finds none of them."""
    models = tuple(f"m{number}" for number in range(20))
    for number in range(30):
        worker = f"w{number}"
        WorkerStore(client, worker).heartbeat(
            [], info=replace(WORKER, id=worker, models=models), listens=True
        )
    client.config_resetstat()
    await store.sweep(interval=1.0)
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    assert stats["cmdstat_zadd"]["calls"] == len(models)
    assert client.keys(f"{PREFIX}worker*") == []
    assert (await store.worker_presence()).last_seen.keys() == set(models)


async def test_a_killed_worker_is_gone_at_once(
    valkey: EmbeddedValkey, client: redis.Redis, store: ValkeyJobStore
) -> None:
    """From the list, long before its announcement expires, and then from Valkey as well."""
    killed, other = Listening(valkey), Listening(valkey, replace(WORKER, id="x", models=("other",)))
    client.zadd(f"{PREFIX}seen", dict.fromkeys(WORKER.models, time.time() - 50))
    assert len((await store.worker_presence()).workers) == 2
    killed.die()
    eventually(lambda: _listeners(client, killed) == 0, what="the end of its connection")
    presence = await store.worker_presence()
    assert presence.workers == [other.info]
    await store.sweep(interval=1.0)
    assert client.exists(f"{PREFIX}worker:w") == 0
    for index in ("workers", "listening"):
        assert client.smembers(f"{PREFIX}{index}") == {"x"}
    seen = (await store.worker_presence()).last_seen
    assert seen["wan"] < 10, "it was alive until just now"
    other.die()


def _listeners(client: redis.Redis, worker: Listening) -> int:
    return int(
        dict(cast("list[tuple[str, int]]", client.pubsub_numsub(worker.store.channel)))[worker.store.channel]
    )


async def test_a_worker_of_0_1_is_alive_as_long_as_its_announcement_holds(
    client: redis.Redis, store: ValkeyJobStore
) -> None:
    client.set(
        f"{PREFIX}worker:old",
        '{"id":"old","host":"h","pid":1,"device":"cpu","version":"0.1.0","models":["wan"],"started_at":0}',
        px=6000,
    )
    client.sadd(f"{PREFIX}workers", "old", "gone")
    await store.sweep(interval=1.0)
    assert [each.id for each in (await store.worker_presence()).workers] == ["old"]
    assert client.smembers(f"{PREFIX}workers") == {"old"}
    client.delete(f"{PREFIX}worker:old")
    await store.sweep(interval=1.0)
    assert client.exists(f"{PREFIX}workers") == 0


def test_an_announcement_is_written_again_only_if_it_has_changed(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    worker = Listening(valkey)
    client.expire(f"{PREFIX}worker:w", 5)
    writes = _calls(client, "set"), _calls(client, "zadd")
    worker.announce()
    assert (_calls(client, "set"), _calls(client, "zadd")) == writes
    assert client.ttl(f"{PREFIX}worker:w") == pytest.approx(ANNOUNCEMENT_SECONDS, abs=5)
    worker.info = replace(worker.info, job="a")
    worker.announce()
    assert _calls(client, "set") == writes[0] + 1
    worker.die()


def test_a_beat_tells_that_the_announcement_was_lost(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """As by a Valkey that was restored, or by a sweep while the worker could not be reached."""
    worker = Listening(valkey)
    assert worker.store.heartbeat([]).announced
    client.delete(f"{PREFIX}worker:w")
    assert not worker.store.heartbeat([]).announced
    worker.announce()
    assert worker.store.heartbeat([]).announced
    worker.die()


async def test_what_was_seen_later_than_now_was_seen_now(client: redis.Redis, store: ValkeyJobStore) -> None:
    """Valkey's clock was put back by an hour."""
    client.zadd(f"{PREFIX}seen", {"wan": time.time() + 3600})
    assert (await store.worker_presence()).last_seen["wan"] == 0
    await store.sweep(interval=1.0)
    [(_, seen)] = cast("list[tuple[str, float]]", client.zrange(f"{PREFIX}seen", 0, -1, withscores=True))
    assert seen == pytest.approx(time.time(), abs=60)


async def test_thousands_of_workers_can_be_looked_at(client: redis.Redis, store: ValkeyJobStore) -> None:
    """More than Lua takes as arguments of one call."""
    dead = [f"dead-{number}" for number in range(10_000)]
    for index in ("workers", "listening"):
        client.sadd(f"{PREFIX}{index}", *dead)
    assert (await store.worker_presence()).workers == []
    await store.sweep()
    assert client.exists(f"{PREFIX}workers", f"{PREFIX}listening") == 0


def _calls(client: redis.Redis, command: str) -> int:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]


async def test_a_model_that_is_no_longer_announced_was_served_until_now(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    worker = WorkerStore(client, "w")
    worker.heartbeat([], info=WORKER)
    client.zadd(f"{PREFIX}seen", {"wan": time.time() - 50, "preview": time.time() - 50})
    worker.heartbeat([], info=replace(WORKER, models=("preview",)))
    last_seen = (await store.worker_presence()).last_seen
    assert last_seen["wan"] < 5
    assert last_seen["preview"] == 0
