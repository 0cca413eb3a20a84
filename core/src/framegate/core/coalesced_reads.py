"""Job records, read once for all callers that ask at the same time."""

import asyncio

from framegate.core.jobs import Job
from framegate.core.ports import JobStore


class CoalescedReads:
    """Read a job's record once for all its watchers, which a change wakes at the same moment."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._pending: dict[str, asyncio.Task[Job | None]] = {}

    async def get(self, job_id: str) -> Job | None:
        """Return the record as it is at some moment after this call."""
        read = self._pending.get(job_id)
        if read is None:
            read = self._pending[job_id] = asyncio.create_task(self._read(job_id))
        return await asyncio.shield(read)  # a caller that is cancelled does not cancel the others' read

    async def _read(self, job_id: str) -> Job | None:
        # A caller from here on may know of a change that this read is too early for.
        del self._pending[job_id]
        return await self._store.get(job_id)
