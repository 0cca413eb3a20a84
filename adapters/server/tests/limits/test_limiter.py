"""The limiter: what it lets through, over any number of processes, and how seldom it asks."""

import asyncio
from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framegate.core.ports import Rate
from framegate.core.testing import InMemoryRateStore
from framegate.server.limits import limiter as limiter_module
from framegate.server.limits.limiter import WINDOW, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settle() -> None:
    """Let the leases in the background end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def passed(limiter: RateLimiter, rate: Rate, requests: int, name: str = "alice") -> int:
    """Send requests one after the other; how many were let through."""
    count = 0
    for _ in range(requests):
        count += await limiter.take(name, rate) == 0
        await settle()
    return count


@pytest.mark.parametrize("limit", [1, 2, 7, 39, 40, 60, 1000])
async def test_one_process_can_use_the_whole_limit_and_no_more(clock: Clock, limit: int) -> None:
    limiter = RateLimiter(InMemoryRateStore(clock), clock=clock)
    assert await passed(limiter, Rate(limit), limit + 20) == limit
    assert 60 <= limiter.refused_for("alice") <= 61
    clock.now += limiter.refused_for("alice")
    assert await limiter.take("alice", Rate(limit)) == 0


async def test_few_requests_ask_the_store(clock: Clock) -> None:
    store = InMemoryRateStore(clock)
    limiter = RateLimiter(store, clock=clock)
    assert await passed(limiter, Rate(6000), 3000) == 3000
    assert store.leases <= 3000 / 300 + 2
    await passed(limiter, Rate(6000), 3100)
    before = store.leases
    assert await passed(limiter, Rate(6000), 1000) == 0
    assert store.leases == before, "what must be refused is, without asking"


async def test_a_slice_is_leased_before_the_last_one_is_used_up(clock: Clock) -> None:
    store = InMemoryRateStore(clock)
    limiter = RateLimiter(store, clock=clock)
    await limiter.take("alice", Rate(1200))
    for _ in range(200):
        leases = store.leases
        assert await limiter.take("alice", Rate(1200)) == 0
        assert store.leases == leases, "nobody waits for a lease"
        await settle()


async def test_names_don_t_share(clock: Clock) -> None:
    limiter = RateLimiter(InMemoryRateStore(clock), clock=clock)
    assert await passed(limiter, Rate(3), 5) == 3
    assert await passed(limiter, Rate(3), 5, "bob") == 3


async def test_a_burst_is_spread(clock: Clock) -> None:
    limiter, rate = RateLimiter(InMemoryRateStore(clock), clock=clock), Rate(100, burst=10)
    assert await passed(limiter, rate, 50) == 10
    assert limiter.refused_for("alice") <= 1
    clock.now += 1
    assert await passed(limiter, rate, 50) == 10


async def test_all_at_once_is_as_one_after_the_other(clock: Clock) -> None:
    limiter = RateLimiter(InMemoryRateStore(clock), clock=clock)
    waits = await asyncio.gather(*(limiter.take("alice", Rate(50)) for _ in range(200)))
    assert sum(wait == 0 for wait in waits) == 50
    assert all(60 <= wait <= 61 for wait in waits if wait)


async def test_who_disconnects_while_it_waits_takes_nothing_from_others(clock: Clock) -> None:
    store, release = InMemoryRateStore(clock), asyncio.Event()
    lease = store.lease

    async def slow(name: str, rate: Rate, wanted: int) -> object:
        await release.wait()
        return await lease(name, rate, wanted)

    store.lease = slow  # type: ignore[method-assign, assignment]
    limiter = RateLimiter(store, clock=clock)
    leaving, staying = (asyncio.create_task(limiter.take("alice", Rate(5))) for _ in range(2))
    await settle()
    leaving.cancel()
    release.set()
    assert await staying == 0
    assert await passed(limiter, Rate(5), 9) == 4


async def test_without_the_store_each_process_keeps_to_the_pace(clock: Clock) -> None:
    store = InMemoryRateStore(clock)
    store.reachable = False
    limiter = RateLimiter(store, clock=clock)
    passed_in: list[int] = []
    for _ in range(120):
        passed_in.append(await passed(limiter, Rate(60), 10))
        clock.now += 0.5
    assert 57 <= sum(passed_in) <= 63
    assert store.leases <= 25, "it is not asked for each request"
    store.reachable = True
    clock.now += 3
    assert await passed(limiter, Rate(60), 100) == 60


async def test_addresses_that_come_once_don_t_fill_the_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter_module, "MAX_NAMES", 100)
    limiter = RateLimiter(InMemoryRateStore(clock), clock=clock)
    for number in range(1000):
        await limiter.take(f"address:{number}", Rate(10))
        await limiter.take("busy", Rate(10))
    assert len(limiter) == 100
    assert limiter.refused_for("busy") > 0, "who comes often is not forgotten"


@given(
    limit=st.integers(1, 200),
    processes=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 60), st.sampled_from([0.0, 0.0, 0.3, 5.0, 20.0, 59.0])),
        max_size=40,
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_minute_has_more_than_the_limit_and_the_slices(
    limit: int, processes: int, steps: list[tuple[int, int, float]]
) -> None:
    async def run() -> None:
        clock = Clock()
        store = InMemoryRateStore(clock)
        limiters = [RateLimiter(store, clock=clock) for _ in range(processes)]
        recent: deque[float] = deque()
        bound = limit + (processes * limit / 10 if limit >= 40 else 0)
        for process, requests, pause in steps:
            for _ in range(await passed(limiters[process % processes], Rate(limit), requests)):
                recent.append(clock.now)
            while recent and recent[0] <= clock.now - WINDOW:
                recent.popleft()
            assert len(recent) <= bound
            clock.now += pause

    asyncio.run(run())
