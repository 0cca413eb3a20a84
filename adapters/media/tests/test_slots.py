"""Slots that owners share."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.core.errors import Busy, KeyLimitReached
from framegate.media.slots import FairSlots


class Calls:
    """Calls that hold a slot until they are told to end."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.running: list[tuple[str, asyncio.Event]] = []
        self.begun: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, *owners: str) -> None:
        for owner in owners:
            self.tasks.append(asyncio.create_task(self._hold(owner)))
            await settle()

    async def end(self, index: int = 0) -> None:
        self.running.pop(index)[1].set()
        await settle()

    async def _hold(self, owner: str) -> None:
        async with self.slots.hold(owner):
            self.begun.append(owner)
            entry = (owner, asyncio.Event())
            self.running.append(entry)
            await entry[1].wait()

    @property
    def owners(self) -> list[str]:
        return [owner for owner, _ in self.running]


async def settle() -> None:
    """Let every task run as far as it gets."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_owner_leaves_one_slot_to_the_others() -> None:
    calls = Calls(FairSlots(3, per_owner=2))
    await calls.begin("a", "a", "a", "a")
    assert calls.owners == ["a", "a"]
    await calls.begin("b")
    assert calls.owners == ["a", "a", "b"]


async def test_owners_are_served_in_turn_and_their_calls_in_order() -> None:
    calls = Calls(FairSlots(2, per_owner=1))
    await calls.begin("x", "y", "a", "a", "a", "b", "b", "c")
    for _ in range(6):
        await calls.end()
    assert calls.begun == ["x", "y", "a", "b", "c", "a", "b", "a"]


async def test_calls_that_are_given_up_neither_keep_a_slot_nor_a_place() -> None:
    slots = FairSlots(2, per_owner=1)
    calls = Calls(slots)
    await calls.begin("a", "b", "c", "d")
    waiting, served = calls.tasks[2], calls.tasks[3]
    waiting.cancel()
    await settle()
    assert slots.waiting == 1
    calls.running[0][1].set()  # a slot is handed over …
    await asyncio.sleep(0)
    served.cancel()  # … to a call that is given up at the same moment
    await settle()
    assert (slots.held, slots.waiting) == (1, 0)
    calls.tasks[1].cancel()
    await settle()
    assert slots.held == 0


async def test_only_so_many_calls_wait() -> None:
    calls = Calls(FairSlots(2, per_owner=1, max_waiting=5, max_waiting_per_owner=3, calls="files"))
    await calls.begin("a", "a", "a", "a")
    with pytest.raises(KeyLimitReached, match="3 of your files are waiting") as refused:
        async with calls.slots.hold("a"):
            pass
    assert refused.value.retry_after > 0
    await calls.begin("b", "b", "b")
    with pytest.raises(Busy, match="5 files are waiting") as full:
        async with calls.slots.hold("c"):
            pass
    assert not isinstance(full.value, KeyLimitReached)
    await calls.end()
    await calls.begin("c")
    assert calls.slots.waiting == 5


@given(
    count=st.integers(2, 4),
    steps=st.lists(st.one_of(st.sampled_from("abcd"), st.integers(0, 9)), max_size=60),
)
def test_no_slot_is_idle_while_an_owner_may_have_it(count: int, steps: Sequence[str | int]) -> None:
    """Begin calls (letters) and end or give up running and waiting ones (numbers), in any order."""

    async def run() -> None:
        slots = FairSlots(count, per_owner=count - 1)
        calls = Calls(slots)
        for step in steps:
            if isinstance(step, str):
                await calls.begin(step)
            elif step % 3 and calls.running:
                await calls.end(step % len(calls.running))
            elif live := [task for task in calls.tasks if not task.done()]:
                chosen = live[step % len(live)]
                chosen.cancel()
                await settle()
                calls.running = calls.running[-slots.held :] if slots.held else []
            held = slots.held
            assert held <= count
            if slots.waiting:
                assert held >= count - 1
        for task in calls.tasks:
            task.cancel()
        await settle()
        assert (slots.held, slots.waiting) == (0, 0)

    asyncio.run(run())


async def test_a_flood_of_one_owner_delays_another_by_a_call_at_most() -> None:
    calls = Calls(FairSlots(2, per_owner=1))
    await calls.begin(*"aaaaaaaaaaaaaaaaaaaa", *"bbb")
    assert Counter(calls.owners) == {"a": 1, "b": 1}
    order = list(calls.begun)
    while len(order) < 6:
        await calls.end()
        order = list(calls.begun)
    assert order.count("b") == 3
