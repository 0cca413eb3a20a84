"""Blocking work beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


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
