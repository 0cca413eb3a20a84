"""Blocking work beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


async def in_thread(work: Callable[[], Made], undo: Callable[[Made], object]) -> Made:
    """What ``work`` makes. A thread can't be stopped: if the caller is cancelled meanwhile, what comes of
    it is undone."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        working.add_done_callback(lambda done: _undo(done, undo))
        raise


def _undo(done: "asyncio.Task[Made]", undo: Callable[[Made], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())
