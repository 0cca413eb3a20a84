"""One call for all who want its result at the same time."""

import asyncio
import time

import pytest

from framegate.core.errors import StorageFull, Unavailable
from framegate.core.shared_call import SharedCall


class Source:
    """Answers with the number of the call, once it may."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = asyncio.Event()
        self.error: Unavailable | None = None

    async def ask(self) -> int:
        self.calls += 1
        number = self.calls
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_who_comes_meanwhile_gets_the_same_result() -> None:
    source = Source()
    call = SharedCall(source.ask, patience=60, silent="silent")
    waiting = [asyncio.create_task(call.result()) for _ in range(3)]
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await call.result() == 2


async def test_callers_give_up_and_the_call_goes_on() -> None:
    source = Source()
    call = SharedCall(source.ask, patience=0.02, silent="It is silent.")
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(Unavailable, match="It is silent"):
            await call.result()
        assert time.monotonic() - started < 1
    assert source.calls == 1
    source.open.set()
    assert await call.result() == 1


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others() -> None:
    source = Source()
    call = SharedCall(source.ask, patience=60, silent="silent")
    first, second = (asyncio.create_task(call.result()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    source.open.set()
    assert await second == 1


async def test_errors_and_results_stay_fresh() -> None:
    source = Source()
    source.open.set()
    source.error = StorageFull("It is full.")
    call = SharedCall(source.ask, patience=60, silent="silent", fresh_for=60)
    for _ in range(2):
        with pytest.raises(StorageFull):
            await call.result()
    assert source.calls == 1
