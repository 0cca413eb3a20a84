"""The disk quota: the files of the oldest finished jobs go first, before their retention ends if need be."""

import asyncio
from collections.abc import Sequence

import structlog

from framegate.core import audit
from framegate.core.ports import ArtifactStore
from framegate.storage.jobs.expiry import EndedJob
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.stored_files import FilesOfJob
from framegate.storage.orphans import remove_files

log = structlog.get_logger(__name__)

MAX_BATCHES = 20
"""How many batches of jobs are looked at in one sweep."""


class DiskQuota:
    """Keep the files of all jobs together below ``max_bytes``; 0 means no limit.

    Inputs and results count; characters and copies on this host don't. Only files of jobs that have ended are
    removed: their records stay, as after retention.
    """

    def __init__(self, store: ValkeyJobStore, artifacts: ArtifactStore, max_bytes: int) -> None:
        self._store = store
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._warned = False

    async def enforce(self) -> int:
        """Remove the oldest files while there are too many bytes; return the number of jobs that had them.

        Of several hosts one does so at a time.

        Raises:
            Unavailable: Valkey or the storage can't be reached.
        """
        if await self._excess() <= 0:
            self._warned = False
            return 0
        async with self._store.expired.quota_turn() as mine:
            # Another host may have removed enough just now.
            return await self._remove(await self._excess()) if mine else 0

    async def _excess(self) -> int:
        return await self._store.expired.stored_bytes() - self._max_bytes if self._max_bytes else 0

    async def _remove(self, excess: int) -> int:
        removed = passed_over = 0
        for _ in range(MAX_BATCHES):
            if excess <= 0 or not (batch := await self._store.expired.oldest(passed_over)):
                break
            gone = await self._remove_files(_choose(batch, excess))
            removed += sum(job.keys != () for job in gone)
            passed_over += len(batch) - len(gone)
            excess = await self._excess()
        if removed:
            log.info("files_removed", jobs=removed, reason="storage.max_bytes")
        if excess > 0 and not self._warned:
            self._warned = True
            log.warning("storage_quota_exceeded", excess=excess, max_bytes=self._max_bytes)
        return removed

    async def _remove_files(self, chosen: Sequence[EndedJob]) -> Sequence[FilesOfJob]:
        """Remove the files of jobs, and return the jobs that have none any more.

        Those that a later version wrote are left to it, and those of which nothing is counted have none or
        stay. Jobs that never had any must not stand before all others, each time.
        """
        found = await self._store.stored_files.of([job.id for job in chosen])
        jobs = [
            found[job.id]
            for job in chosen
            if job.id in found
            and found[job.id].seq == job.seq
            and found[job.id].ended
            and not found[job.id].later
            and (job.stored or found[job.id].keys == ())
        ]
        keys = [key for job in jobs for key in job.keys or ()]
        await asyncio.to_thread(remove_files, self._artifacts, keys)
        await self._store.expired.mark_files_removed(jobs)
        for job in jobs:
            if job.keys != ():
                audit.record("job_files_removed", job_id=job.id, owner=job.owner, reason="storage.max_bytes")
        return jobs


def _choose(batch: Sequence[EndedJob], excess: int) -> Sequence[EndedJob]:
    """Return the first jobs of a batch, whose files together have as many bytes as there are too many."""
    chosen: list[EndedJob] = []
    for job in batch:
        if excess <= 0:
            break
        chosen.append(job)
        excess -= job.stored
    return chosen
