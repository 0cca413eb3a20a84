"""Rates in Valkey."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.core.errors import Unavailable
from framegate.core.ports import Rate
from framegate.core.testing import InMemoryRateStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.rates import ValkeyRateStore

KEY = "fg:rate:alice"


@pytest.fixture
async def rates(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyRateStore]:
    store = ValkeyRateStore(connect_async(valkey.url))
    yield store
    await store.close()


def second_of(client: redis.Redis) -> int:
    return int(client.time()[0])


async def lease_all(rates: ValkeyRateStore, rate: Rate, wanted: int = 5) -> int:
    total = 0
    while granted := (await rates.lease("alice", rate, wanted)).granted:
        total += granted
    return total


async def test_a_limit_is_granted_once(rates: ValkeyRateStore, client: redis.Redis) -> None:
    assert await lease_all(rates, Rate(100)) == 100
    refused = await rates.lease("alice", Rate(100), 5)
    assert refused.granted == 0
    assert 55 < refused.retry_after <= 61
    assert (await rates.lease("bob", Rate(100), 5)).granted == 5
    assert 0 < client.ttl(KEY) <= 62, "an idle key is forgotten"


async def test_what_is_over_a_minute_old_counts_no_more(rates: ValkeyRateStore, client: redis.Redis) -> None:
    now = second_of(client)
    client.hset(KEY, mapping={str(now - 62): 7, str(now - 61): 3, str(now - 50): 4, str(now - 20): 5})
    assert await lease_all(rates, Rate(10)) == 1
    refused = await rates.lease("alice", Rate(10), 1)
    assert 0 < refused.retry_after <= 11, "when the oldest passes"
    assert min(int(second) for second in client.hkeys(KEY)) >= now - 61


async def test_after_the_clock_went_back_nobody_waits_for_it(
    rates: ValkeyRateStore, client: redis.Redis
) -> None:
    now = second_of(client)
    client.hset(KEY, mapping={str(now + 3600): 10, str(now + 3590): 10, str(now - 5): 4})
    assert await lease_all(rates, Rate(10)) == 6
    assert max(int(second) for second in client.hkeys(KEY)) <= second_of(client)


async def test_a_burst(rates: ValkeyRateStore, client: redis.Redis) -> None:
    now = second_of(client)
    client.hset(KEY, mapping={str(now + ahead): 3 for ahead in range(10)})
    refused = await rates.lease("alice", Rate(1000, burst=3), 5)
    assert refused.granted == 0
    assert 0 < refused.retry_after <= 1


async def test_a_lowered_limit_holds_at_once(rates: ValkeyRateStore) -> None:
    assert await lease_all(rates, Rate(50)) == 50
    assert await lease_all(rates, Rate(10)) == 0
    assert await lease_all(rates, Rate(60)) == 10


async def test_an_outage_is_said() -> None:
    store = ValkeyRateStore(connect_async("unix:///nowhere/valkey.sock"))
    with pytest.raises(Unavailable):
        await store.lease("alice", Rate(10), 1)
    await store.close()


@given(
    limit=st.integers(1, 120),
    wanted=st.lists(st.integers(1, 30), max_size=30),
)
@settings(max_examples=20, deadline=None)
def test_slices_are_those_of_the_reference(url: str, limit: int, wanted: list[int]) -> None:
    async def run() -> None:
        store, reference = ValkeyRateStore(connect_async(url)), InMemoryRateStore()
        name = f"{limit}:{wanted}"
        try:
            for number in wanted:
                found = await store.lease(name, Rate(limit), number)
                assert found.granted == (await reference.lease(name, Rate(limit), number)).granted
        finally:
            await store.close()

    with EmptyValkey(url):
        asyncio.run(run())


class EmptyValkey:
    """Empties Valkey for one example."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def __enter__(self) -> None:
        self._client.flushall()

    def __exit__(self, *_: object) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def url(valkey: EmbeddedValkey) -> str:
    return valkey.url
