"""Threads and tasks beside the one that waits for them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

_CANCEL_AGAIN_SECONDS = 2


async def in_thread(work: Callable[[], Result], undo: Callable[[Result], object]) -> Result:
    """Run ``work`` in a thread and return its result.

    A thread can't be stopped: if the caller is cancelled meanwhile, the result is passed to ``undo``.
    """
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: _undo(done, undo))
        raise


def _undo(done: "asyncio.Task[Result]", undo: Callable[[Result], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())


async def cancel_and_wait(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait until they have ended.

    The cancellation is repeated, after the time that a task may need to clean up: redis-py swallows one that
    arrives while it connects.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
