"""Job records, read once for all who ask at the same time."""

import asyncio

from framegate.core.jobs import Job
from framegate.core.ports import JobStore


class CoalescedReads:
    """A change wakes every watcher of a job at once; the first that asks reads the record for all of them."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._about_to_start: dict[str, asyncio.Task[Job | None]] = {}

    async def get(self, job_id: str) -> Job | None:
        """The record as it is at some moment after this call."""
        reading = self._about_to_start.get(job_id)
        if reading is None:
            reading = self._about_to_start[job_id] = asyncio.create_task(self._read(job_id))
        return await asyncio.shield(reading)  # a watcher that leaves does not take the others' answer along

    async def _read(self, job_id: str) -> Job | None:
        # Who asks from here on may have heard of a change that this read is too early for.
        del self._about_to_start[job_id]
        return await self._store.get(job_id)
