import asyncio
from contextlib import suppress

from framegate.core.concurrency import cancel_and_wait


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
