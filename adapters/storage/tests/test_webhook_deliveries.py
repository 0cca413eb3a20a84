"""Who is served next, whatever receivers and other versions have done."""

import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.webhook_deliveries import (
    GIVE_UP_AFTER,
    LONGEST_DELAY,
    PAUSE_AFTER,
    Delivery,
    Occupied,
    Outcome,
    Standing,
    ValkeyDeliveryStore,
)
from tests.support.sample_jobs import make_job

OLD_SCRIPTS = Path(__file__).parent / "records"
FREE = dict.fromkeys(Standing, ())


def add(client: redis.Redis, *receivers: str, since: float | None = None, each: int = 1) -> None:
    """Add deliveries as the end of a job does, at once for many receivers."""
    since = time.time() - 60 if since is None else since
    pipeline = client.pipeline(transaction=False)
    for receiver in receivers:
        for number in range(each):
            delivery = f"evt_{receiver}:{number}"
            fields = {
                "event": f"evt_{receiver}",
                "outcome": "succeeded",
                "job_id": receiver,
                "created_at": int(since),
                "url": "https://hooks.example/",
                "receiver": receiver,
                "attempt": 0,
            }
            pipeline.hset(f"fg:delivery:{delivery}", mapping=cast("Any", fields))
            pipeline.zadd(f"fg:deliveries:{receiver}", {delivery: since})
        pipeline.zadd("fg:deliveries", {receiver: since}, lt=True)
    pipeline.execute()


async def claim(
    store: ValkeyDeliveryStore, occupied: Occupied | None = None, *, lease: float = 60
) -> Delivery | None:
    """Claim as a delivery worker does: until there is nothing more to look at."""
    while True:
        found = await store.claim(lease=lease, occupied=occupied)
        assert not found.given_up
        if found.delivery or not found.has_more:
            return found.delivery


async def claim_all(store: ValkeyDeliveryStore, occupied: Occupied | None = None) -> list[str]:
    """Return the receivers of all that can be claimed, in their order."""
    found: list[str] = []
    while delivery := await claim(store, occupied):
        found.append(delivery.receiver)
    return found


async def prove(store: ValkeyDeliveryStore, client: redis.Redis, *receivers: str) -> None:
    """Let receivers accept an event."""
    add(client, *receivers)
    for _ in receivers:
        delivery = await claim(store)
        assert delivery is not None
        await store.finish(delivery)


async def fail(store: ValkeyDeliveryStore, receiver: str, times: int, *, pause: float = 0.0) -> None:
    """Let a receiver be away, so many times in a row."""
    for _ in range(times):
        delivery = await claim(store)
        assert delivery is not None
        assert delivery.receiver == receiver
        await store.postpone(delivery, 0.0, Outcome.FAILED, pause=pause)


def keys(client: redis.Redis, pattern: str) -> list[str]:
    return sorted(cast("list[str]", client.keys(pattern)))


# Names.


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://hooks.example/a?b", "alice@hooks.example:443"),
        ("http://hooks.example", "alice@hooks.example:80"),
        ("https://hooks.example:443/", "alice@hooks.example:443"),
        ("https://hooks.example:00443/", "alice@hooks.example:443"),
        ("https://hooks.example:/", "alice@hooks.example:443"),
        ("HTTPS://HOOKS.Example./", "alice@hooks.example:443"),
        ("https://user:word@hooks.example/", "alice@hooks.example:443"),
        ("https://a@b@hooks.example?x@y", "alice@hooks.example:443"),
        ("http://hooks.example:8443#x", "alice@hooks.example:8443"),
        ("http://[::1]", "alice@[::1]:80"),
        ("http://[::1]:8080/", "alice@[::1]:8080"),
        ("no url", None),
    ],
)
async def test_a_receiver_has_one_name(
    store: ValkeyJobStore, client: redis.Redis, url: str, receiver: str | None
) -> None:
    await end(store, client, "a", owner="alice", urls=[url])
    assert keys(client, "fg:deliveries:*") == ([f"fg:deliveries:{receiver}"] if receiver else [])


async def end(
    store: ValkeyJobStore, client: redis.Redis, job_id: str, *, owner: str, urls: Sequence[str]
) -> None:
    job = replace(make_job(job_id, owner=owner), webhooks=tuple(urls))
    await store.submit(job, limits=Limits())
    worker = WorkerStore(client, "w")
    claimed = worker.claim("q-test", ["test"])
    assert claimed is not None
    assert worker.succeed(claimed, ()) == JobState.SUCCEEDED


async def test_the_operators_own_receiver_is_one_for_all_owners(
    store: ValkeyJobStore, valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    """It would otherwise have to fail for each of them."""
    own = "https://ops.example/videos?token=hidden"
    deliveries = ValkeyDeliveryStore(connect_async(valkey.url), operator_urls=[own])
    assert (await deliveries.claim(lease=60)).delivery is None
    for name in ("alice", "bob"):
        await end(store, client, name, owner=name, urls=[own, "https://ops.example/other"])
    names = ["@ops.example:443", "alice@ops.example:443", "bob@ops.example:443"]
    assert keys(client, "fg:deliveries:*") == [f"fg:deliveries:{name}" for name in names]
    assert client.zcard("fg:deliveries:@ops.example:443") == 2
    found = [await claim(deliveries) for _ in names]
    assert sorted((each.owner, each.host) for each in found if each) == [
        (owner, "ops.example:443") for owner in ("", "alice", "bob")
    ]
    await deliveries.close()


# Turns.


async def test_owners_are_served_in_turn_and_the_receivers_of_each(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    await prove(deliveries, client, "bob@b:1", "carol@c:1")
    add(client, *(f"alice@a{number}:1" for number in range(5)), since=time.time() - 600)
    add(client, "bob@b:1", each=3)
    add(client, "carol@c:1", "carol@d:1", each=2)
    order = await claim_all(deliveries)
    proven = ["bob@b:1", "carol@c:1", "bob@b:1", "carol@c:1", "bob@b:1"]
    assert sorted(order[:2]) == proven[:2]
    assert sorted(order[:5]) == sorted(proven), "who has answered comes first"
    assert {order[0], order[1]} == {order[2], order[3]} == {"bob@b:1", "carol@c:1"}
    assert sorted(order[5:7]) == ["alice@a0:1", "carol@d:1"]
    assert order[7:] == [f"alice@a{number}:1" for number in range(1, 5)]


async def test_one_attempt_at_a_time_until_a_receiver_has_accepted_an_event(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, "alice@a:1", each=5)
    first = await claim(deliveries)
    assert first is not None
    assert first.standing == Standing.NEW
    assert await claim(deliveries) is None
    await deliveries.postpone(first, 60, Outcome.ANSWERED)
    second = await claim(deliveries)
    assert second is not None
    assert second.standing == Standing.NEW, "it has answered, but not accepted anything"
    assert await claim(deliveries) is None
    await deliveries.finish(second)
    rest = [await claim(deliveries) for _ in range(3)]
    assert [each.standing for each in rest if each] == [Standing.PROVEN] * 3
    assert rest[0] is not None
    await deliveries.postpone(rest[0], 0, Outcome.FAILED)
    failing = await claim(deliveries)
    assert failing is not None
    assert (failing.standing, failing.failures) == (Standing.FAILING, 1)


async def test_a_lease_that_runs_out_frees_a_receiver(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, "alice@a:1", each=2)
    first = await claim(deliveries, lease=0)
    second = await claim(deliveries)
    assert first is not None
    assert second is not None
    assert first.id != second.id


async def test_who_has_no_slot_left_is_passed_over(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    await prove(deliveries, client, "bob@p:1")
    add(client, "alice@a:1", "alice@b:1", "bob@a:1", "bob@p:1", "carol@c:1")
    only_new = Occupied(owners={Standing.NEW: ["alice"]}, receivers=["carol@c:1"], hosts=["x:1"])
    assert await claim_all(deliveries, only_new) == ["bob@a:1"]
    assert await claim_all(deliveries, Occupied(owners=FREE, hosts=["a:1", "c:1"])) == [
        "bob@p:1",
        "alice@b:1",
    ]
    assert sorted(await claim_all(deliveries)) == ["alice@a:1", "carol@c:1"]


@pytest.mark.parametrize(("receivers", "owners"), [(3000, 1), (3000, 30), (1500, 1500)])
async def test_a_claim_costs_the_same_however_many_are_due(
    deliveries: ValkeyDeliveryStore, client: redis.Redis, receivers: int, owners: int
) -> None:
    """All that are passed over have no slot left, as their receivers don't answer."""
    await prove(deliveries, client, "o0@living:1")
    dead = [f"o{number % owners}@dead{number}:1" for number in range(receivers)]
    add(client, *dead)
    add(client, "o0@living:1", "zoe@living:1", since=time.time())
    occupied = Occupied(owners={**FREE, Standing.NEW: [f"o{number}" for number in range(min(owners, 96))]})
    assert await claim_all(deliveries, replace(occupied, owners={Standing.PROVEN: ()})) == ["o0@living:1"]
    before = commands(client)
    found = await claim(deliveries, occupied)
    assert found is not None
    if owners <= 96:
        assert found.receiver == "zoe@living:1"
    assert commands(client) - before < 60


def commands(client: redis.Redis) -> int:
    """Return the number of commands that were called, by scripts too."""
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return sum(
        each["calls"] for name, each in stats.items() if name not in ("cmdstat_info", "cmdstat_config")
    )


async def test_owners_that_wait_for_a_busy_host_are_not_looked_at_for_ever(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, *(f"o{number}@busy:1" for number in range(1200)), since=time.time() - 600)
    add(client, "zoe@living:1")
    occupied = Occupied(hosts=["busy:1"])
    found = [await claim(deliveries, occupied) for _ in range(2)]
    assert [each.receiver for each in found if each] == ["zoe@living:1"]


async def test_nothing_is_written_while_nothing_is_due(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, "alice@a:1")
    assert await claim(deliveries) is not None

    def changes() -> int:
        return cast("dict[str, int]", client.info("persistence"))["rdb_changes_since_last_save"]

    before = changes()
    for _ in range(5):
        assert await claim(deliveries) is None
    assert changes() == before


# Pauses.


async def test_a_receiver_that_fails_is_paused_and_one_answer_ends_it(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, "alice@a:1", each=9)
    outcomes: list[tuple[bool, bool]] = []
    for outcome in [Outcome.FAILED] * (PAUSE_AFTER + 1) + [Outcome.ANSWERED, Outcome.FAILED]:
        delivery = await claim(deliveries)
        assert delivery is not None
        settled = await deliveries.postpone(delivery, 0.0, outcome)
        outcomes.append((settled.receiver_paused, settled.receiver_back))
    nothing = (False, False)
    assert outcomes == [nothing, nothing, (True, False), nothing, (False, True), nothing]


async def test_nothing_is_sent_during_a_pause(deliveries: ValkeyDeliveryStore, client: redis.Redis) -> None:
    add(client, "alice@a:1", each=5)
    paused_at = time.monotonic()
    await fail(deliveries, "alice@a:1", PAUSE_AFTER, pause=0.2)
    assert await claim(deliveries) is None
    add(client, "alice@a:1", each=9)
    assert await claim(deliveries) is None
    add(client, "bob@a:1")
    assert (await claim_all(deliveries)) == ["bob@a:1"], "another owner's receiver"
    while not (probe := await claim(deliveries)):
        assert time.monotonic() < paused_at + 10
    assert time.monotonic() - paused_at >= 0.2
    assert probe.failures == PAUSE_AFTER
    assert await claim(deliveries) is None, "one at a time"


async def test_what_is_known_of_receivers_is_forgotten(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    """Else whoever names ten thousand hosts would fill the memory."""
    await prove(deliveries, client, "alice@a:1")
    add(client, "alice@b:1")
    await fail(deliveries, "alice@b:1", 1)
    known = keys(client, "fg:webhook_receiver:*")
    assert len(known) == 2
    assert all(GIVE_UP_AFTER < client.ttl(key) < 2 * GIVE_UP_AFTER for key in known)
    delivery = await claim(deliveries)
    assert delivery is not None
    await deliveries.finish(delivery)
    client.delete(*known)
    assert keys(client, "fg:deliver*") == keys(client, "fg:webhook_*") == []


async def test_deliveries_behind_a_paused_receiver_are_given_up_after_a_day(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, "alice@a:1", each=4)
    await fail(deliveries, "alice@a:1", PAUSE_AFTER)
    for number in (3, 0, 1):
        client.hset(f"fg:delivery:evt_alice@a:1:{number}", "created_at", int(time.time() - GIVE_UP_AFTER - 9))
    found = await deliveries.claim(lease=60)
    assert sorted(each.id for each in found.given_up) == [f"evt_alice@a:1:{number}" for number in (0, 1, 3)]
    assert found.delivery is not None
    assert found.delivery.id == "evt_alice@a:1:2"
    assert keys(client, "fg:delivery:*") == ["fg:delivery:evt_alice@a:1:2"]


async def test_an_old_delivery_to_a_receiver_that_is_not_paused_is_tried(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    """As when no API ran for two days, or the clock jumped."""
    add(client, "alice@a:1", since=time.time() - 2 * GIVE_UP_AFTER)
    delivery = await claim(deliveries)
    assert delivery is not None
    settled = await deliveries.postpone(delivery, 0.0)
    assert settled.given_up
    assert keys(client, "fg:deliver*") == []


@pytest.mark.parametrize(("left", "given_up"), [(10, False), (4, True)])
async def test_valkeys_clock_decides_when_a_delivery_is_given_up(
    deliveries: ValkeyDeliveryStore, client: redis.Redis, left: int, given_up: bool
) -> None:
    add(client, "alice@a:1", since=time.time() - GIVE_UP_AFTER + left)
    delivery = await claim(deliveries)
    assert delivery is not None
    settled = await deliveries.postpone(delivery, 7.0)
    assert settled.given_up is given_up
    assert bool(keys(client, "fg:delivery:*")) is not given_up


@pytest.mark.parametrize("ahead", [LONGEST_DELAY / 4, LONGEST_DELAY - 1, 2 * LONGEST_DELAY])
async def test_after_the_clock_went_back_nothing_waits_longer_than_it_may(
    deliveries: ValkeyDeliveryStore, client: redis.Redis, ahead: float
) -> None:
    """Here the clock stays, and all times that are stored are put forward."""
    add(client, "alice@paused:1", each=2)
    await fail(deliveries, "alice@paused:1", PAUSE_AFTER, pause=600)
    add(client, "alice@waiting:1", "bob@leased:1", "bob@added:1")
    leased, postponed = await claim(deliveries), await claim(deliveries)
    assert leased is not None
    assert postponed is not None
    await deliveries.postpone(postponed, 30)
    sorted_sets = ("fg:deliveries*", "fg:webhook_owners:*", "fg:webhook_receivers:*")
    for key in [key for pattern in sorted_sets for key in keys(client, pattern)]:
        for member in cast("list[str]", client.zrange(key, 0, -1)):
            client.zincrby(key, ahead, member)
    for key in keys(client, "fg:webhook_receiver:*"):
        client.hincrbyfloat(key, "not_before", ahead)
    client.incrbyfloat("fg:clock:webhooks", ahead)
    assert sorted(set(await claim_all(deliveries))) == [
        "alice@paused:1",
        "alice@waiting:1",
        "bob@added:1",
        "bob@leased:1",
    ]


async def test_an_event_from_before_the_clock_went_back_is_sent_at_once(
    store: ValkeyJobStore, deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    """Nobody had looked at it before."""
    await store.submit(replace(make_job("boat"), webhooks=("https://a.example/",)), limits=Limits())
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    worker.succeed(job, ())
    for key in keys(client, "fg:deliveries*"):
        for member in cast("list[str]", client.zrange(key, 0, -1)):
            client.zincrby(key, LONGEST_DELAY, member)
    client.incrbyfloat("fg:clock:webhooks", LONGEST_DELAY)
    assert await claim_all(deliveries) == ["@a.example:443"]
    now = float(client.time()[0])
    assert now - 60 < float(cast("str", client.get("fg:clock:webhooks"))) <= now + 1, (
        "it counts from here again"
    )


# Other versions, and damage.


async def test_what_0_1_does_is_noticed(deliveries: ValkeyDeliveryStore, client: redis.Redis) -> None:
    claim_0_1 = client.register_script((OLD_SCRIPTS / "claim_delivery-0.1.lua").read_text())
    settle_0_1 = client.register_script((OLD_SCRIPTS / "settle_delivery-0.1.lua").read_text())
    add(client, "hooks.example", "alice@a:1", "alice@b:1", each=2)  # the first as 0.1 calls it
    taken = cast("list[str]", claim_0_1(keys=["fg:"], args=[0]))
    old = dict(zip(taken[::2], taken[1::2], strict=True))
    await deliveries.claim(lease=0)  # lines them all up
    settle_0_1(keys=["fg:"], args=[old["id"], "1", ""])
    while taken := cast("list[str]", claim_0_1(keys=["fg:"], args=[60])):
        found = dict(zip(taken[::2], taken[1::2], strict=True))
        settle_0_1(keys=["fg:"], args=[found["id"], found["attempt"], ""])
    while delivery := await claim(deliveries):
        await deliveries.finish(delivery)
    assert keys(client, "fg:deliver*") == []
    add(client, "hooks.example")
    assert await claim_all(deliveries) == ["hooks.example"]


async def test_what_is_left_to_0_1_is_found_by_it(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    claim_0_1 = client.register_script((OLD_SCRIPTS / "claim_delivery-0.1.lua").read_text())
    add(client, "alice@a:1", "alice@b:1", each=2)
    await deliveries.claim(lease=0)
    assert claim_0_1(keys=["fg:"], args=[60]) == [], "these are left to this version at first"
    for receiver in ("alice@a:1", "alice@b:1"):
        score = cast("float", client.zscore("fg:deliveries", receiver))
        assert time.time() < score < time.time() + 70
        client.zincrby("fg:deliveries", -61, receiver)  # a minute later
    found: list[str] = []
    while taken := cast("list[str]", claim_0_1(keys=["fg:"], args=[60])):
        found.append(dict(zip(taken[::2], taken[1::2], strict=True))["id"])
    assert sorted(found) == [f"evt_alice@{name}:1:{number}" for name in "ab" for number in (0, 1)]


async def test_a_delivery_of_a_later_version_hides_none_of_this(
    deliveries: ValkeyDeliveryStore, client: redis.Redis
) -> None:
    add(client, *(f"alice@a{number}:1" for number in range(300)), "alice@z:1", each=2)
    for key in keys(client, "fg:delivery:*"):
        if not key.endswith("z:1:1"):
            client.hset(key, mapping={"schema": 99, "written_by": "9.1.0"})
    before = {key: client.hgetall(key) for key in keys(client, "fg:delivery:*a*:1:*")}
    assert await claim_all_soon(deliveries, 3) == ["alice@z:1"]
    del before["fg:delivery:evt_alice@z:1:1"]
    assert {key: client.hgetall(key) for key in before} == before


async def claim_all_soon(store: ValkeyDeliveryStore, times: int) -> list[str]:
    """Return the receivers of what is claimed by a few calls."""
    found = [(await store.claim(lease=60)).delivery for _ in range(times)]
    return [each.receiver for each in found if each]


@pytest.mark.parametrize(
    "damage",
    [
        {"outcome": "melted"},
        {"attempt": "often"},
        {"attempt": "nan"},
        {"attempt": "1.5"},
        {"attempt": "99999999999999999999"},
        {"created_at": "inf"},
        {"schema": "1e999"},
        {"created_at": "once"},
        {"schema": "none"},
        {"schema": "-1"},
        {"event": None},
        {"url": None},
        {},
    ],
)
async def test_a_damaged_delivery_stops_no_other(
    deliveries: ValkeyDeliveryStore, client: redis.Redis, damage: dict[str, str | None]
) -> None:
    """It is left for later, or removed where nothing is left of it."""
    add(client, "alice@a:1", each=3)
    add(client, "bob@b:1")
    key = "fg:delivery:evt_alice@a:1:0"
    for name, value in damage.items():
        if value is None:
            client.hdel(key, name)
        else:
            client.hset(key, name, value)
    if not damage:
        client.delete(key)
    with structlog.testing.capture_logs() as logs:
        claimed = [delivery async for delivery in finished(deliveries)]
    assert {"evt_alice@a:1:1", "evt_alice@a:1:2", "evt_bob@b:1:0"} <= set(claimed)
    if "attempt" in damage:
        assert "evt_alice@a:1:0" in claimed
    assert [line["event"] for line in logs] in ([], ["webhook_delivery_damaged"])
    kept = keys(client, "fg:delivery:*")
    assert kept in ([], [key])
    assert bool(kept) == bool(logs and "created_at" not in damage)


async def finished(store: ValkeyDeliveryStore) -> AsyncGenerator[str]:
    """Claim and finish whatever is due."""
    while delivery := await claim(store):
        await store.finish(delivery)
        yield delivery.id
