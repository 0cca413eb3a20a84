"""The bytes of bodies that clients may hold."""

import asyncio

import pytest

from framegate.core.errors import Busy
from framegate.server.errors.error_info import TooManyBytesInFlight
from framegate.server.receiving import budget as budget_module
from framegate.server.receiving.budget import BodyBudget, BodyShare


def held(budget: BodyBudget, client: str, size: int, *, limit: int = 10_000) -> BodyShare:
    share = BodyShare(client, limit)
    budget.hold(share, size)
    return share


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "_PATIENCE", 0.05)


def test_a_clients_requests_share_its_limit() -> None:
    budget = BodyBudget(1000)
    first = held(budget, "a", 60, limit=100)
    second = BodyShare("a", 100)
    budget.hold(second, 40)
    with pytest.raises(TooManyBytesInFlight, match="101 bytes; at most 100"):
        budget.hold(second, 1)
    held(budget, "b", 100, limit=100)
    budget.release(first)
    budget.hold(second, 60)
    with pytest.raises(TooManyBytesInFlight):
        held(budget, "a", 1, limit=100)


def test_a_body_larger_than_the_limit_passes_alone() -> None:
    budget = BodyBudget(10)
    share = held(budget, "a", 500, limit=100)
    budget.hold(share, 500)
    budget.release(share)
    held(budget, "a", 100, limit=100)


async def test_bodies_wait_for_room_in_memory() -> None:
    budget = BodyBudget(100)
    first = held(budget, "a", 50)
    second = held(budget, "b", 50)
    await budget.load(first)
    await budget.load(second)
    waiting = [asyncio.create_task(budget.load(held(budget, name, 30))) for name in ("c", "d", "e")]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    budget.release(first)
    await asyncio.sleep(0.01)
    assert [task.done() for task in waiting] == [True, False, False]
    budget.release(second)
    await asyncio.gather(*waiting)


async def test_a_client_that_fills_its_share_holds_up_nobody() -> None:
    budget = BodyBudget(100)
    first = held(budget, "a", 50)
    await budget.load(first)
    own = asyncio.create_task(budget.load(held(budget, "a", 1)))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(budget.load(held(budget, "b", 50)), 1)
    assert not own.done()
    budget.release(first)
    await asyncio.wait_for(own, 1)


@pytest.mark.usefixtures("hasty")
async def test_those_who_wait_too_long_are_told_why() -> None:
    budget = BodyBudget(100)
    shares = [held(budget, name, 50) for name in ("a", "b")]
    for share in shares:
        await budget.load(share)
    late, own = held(budget, "c", 50), held(budget, "a", 10)
    with pytest.raises(Busy, match="other large requests") as busy:
        await budget.load(late)
    assert not isinstance(busy.value, TooManyBytesInFlight)
    with pytest.raises(TooManyBytesInFlight, match="share of the memory"):
        await budget.load(own)
    budget.release(shares[0])
    await budget.load(late)


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    budget = BodyBudget(100)
    first = held(budget, "a", 100)
    await budget.load(first)
    cancelled = held(budget, "b", 100)
    waiting = asyncio.create_task(budget.load(cancelled))
    behind = asyncio.create_task(budget.load(held(budget, "c", 10)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    budget.release(cancelled)
    budget.release(first)
    await asyncio.wait_for(behind, 1)


async def test_room_that_comes_with_a_cancellation_is_given_back() -> None:
    budget = BodyBudget(100)
    first = held(budget, "a", 100)
    await budget.load(first)
    late = held(budget, "b", 100)
    waiting = asyncio.create_task(budget.load(late))
    await asyncio.sleep(0.01)
    budget.release(first)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    budget.release(late)
    await asyncio.wait_for(budget.load(held(budget, "c", 100)), 1)
