"""Many who watch few jobs."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from framegate.core.jobs import Job, JobState
from framegate.core.testing import InMemoryJobStore
from tests.support.service_stand import ServiceStand

WATCHERS, JOBS, CHANGES = 500, 5, 20


class CountingStore(InMemoryJobStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, job_id: str) -> Job | None:
        self.reads += 1
        await asyncio.sleep(0.001)  # as long as a server takes to answer
        return await super().get(job_id)


async def test_a_change_is_read_once_however_many_watch(tmp_path: Path) -> None:
    store = CountingStore()
    stand = ServiceStand(tmp_path, store=store)
    jobs = [await stand.submit() for _ in range(JOBS)]
    for number in range(JOBS):
        store.claim_next(f"w{number}")
    started = asyncio.Barrier(WATCHERS + 1)
    seen = [0.0] * WATCHERS

    async def watch(number: int) -> JobState:
        last = jobs[number % JOBS]
        async with aclosing(stand.services.jobs.watch(last.id)) as states:
            first = await anext(states)
            assert first.state == JobState.RUNNING
            await started.wait()
            async for last in states:
                seen[number] = last.progress
        return last.state

    watching = [asyncio.create_task(watch(number)) for number in range(WATCHERS)]
    await started.wait()
    store.reads = 0
    for change in range(1, CHANGES):
        for job in jobs:
            store.advance(job.id, change / CHANGES)
        async with asyncio.timeout(60):
            while min(seen) < change / CHANGES:  # noqa: ASYNC110 # each watcher has its own loop
                await asyncio.sleep(0.001)
    for job in jobs:
        store.succeed(job.id)
    assert set(await asyncio.gather(*watching)) == {JobState.SUCCEEDED}
    assert store.reads <= JOBS * CHANGES * 1.2, "one read for each change, and no polling"
    assert seen == [1.0] * WATCHERS
