"""Threads and tasks beside the one that waits for them."""

import asyncio
import contextvars
import math
import threading
from contextlib import suppress

import pytest

from framegate.core.concurrency import (
    FILE_THREADS,
    CachedRead,
    SharedTasks,
    Threads,
    cancel_and_wait,
    in_thread,
    to_its_end,
)
from framegate.core.errors import Unavailable


async def test_tasks_end_though_a_call_swallows_their_cancellation() -> None:
    waiting = asyncio.Event()

    async def swallow_once() -> None:
        with suppress(asyncio.CancelledError):
            waiting.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(swallow_once())
    await waiting.wait()
    async with asyncio.timeout(60):
        await cancel_and_wait([task])
    assert task.cancelled()


async def test_tasks_end_though_the_caller_is_cancelled_meanwhile() -> None:
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def clean_up_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()

    task = asyncio.create_task(clean_up_slowly())
    await asyncio.sleep(0)
    caller = asyncio.create_task(cancel_and_wait([task]))
    await cleaning.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    cleaned.set()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert task.cancelled()


async def test_kinds_of_threads_do_not_wait_for_one_another() -> None:
    slow, quick = Threads("slow", 2), Threads("quick", 1)
    released = threading.Event()
    waiting = [asyncio.create_task(slow.run(released.wait, 50)) for _ in range(10)]
    assert await quick.run(threading.current_thread) != threading.current_thread()
    released.set()
    assert await asyncio.gather(*waiting) == [True] * 10


async def test_threads_know_what_their_caller_has_bound() -> None:
    name = contextvars.ContextVar("name", default="")
    name.set("request 1")
    assert await FILE_THREADS.run(name.get) == "request 1"


async def test_what_a_thread_did_for_a_caller_that_left_is_undone() -> None:
    begun, released = threading.Event(), threading.Event()
    undone: list[str] = []

    def work() -> str:
        begun.set()
        released.wait(50)
        return "file"

    caller = asyncio.create_task(in_thread(work, undone.append))
    await asyncio.to_thread(begun.wait, 50)
    for _ in range(3):  # however often
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done(), "it waits for the thread, which can't be stopped"
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert undone == ["file"]


async def test_work_runs_to_its_end_though_its_caller_is_cancelled() -> None:
    begun, released, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await released.wait()
        ended.set()

    caller = asyncio.create_task(to_its_end(work()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_shared_work_is_done_once_and_its_error_is_everybodys() -> None:
    shared: SharedTasks[int] = SharedTasks()
    begun = 0

    async def fail() -> int:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)
        raise ValueError("broken")

    calls = await asyncio.gather(*(shared.run("a", fail) for _ in range(5)), return_exceptions=True)
    assert [str(error) for error in calls] == ["broken"] * 5
    assert begun == 1
    with pytest.raises(ValueError, match="broken"):
        await shared.run("a", fail)
    assert begun == 2, "an error is not kept"


async def test_what_was_read_is_used_while_it_is_read_again() -> None:
    reads, answers = 0, asyncio.Event()
    answers.set()

    async def read() -> int:
        nonlocal reads
        reads += 1
        number = reads
        await answers.wait()
        if number == 2:
            raise Unavailable("away")
        return number

    cached = CachedRead(read, fresh_for=0.0)
    assert await asyncio.gather(*(cached.get(max_age=math.inf) for _ in range(3))) == [1, 1, 1]
    for expected in (2, 3):
        answers.clear()
        for _ in range(3):
            assert await cached.get(max_age=math.inf) == 1, "it is not waited for"
            await asyncio.sleep(0)
        assert reads == expected
        answers.set()
        for _ in range(5):
            await asyncio.sleep(0)
    assert await cached.get(max_age=math.inf) == 3
    assert await cached.get(max_age=0.0) > 3
