"""Removal of files and records that have been kept long enough.

Due times are kept in Valkey, by its clock, so they survive a restart. Any number of hosts share the work:
each leases a batch, and what it can't deal with is due again when the lease ends.
"""

import asyncio
import time
from collections.abc import Collection, Sequence

import structlog

from framegate.core import audit
from framegate.core.errors import Unavailable
from framegate.core.ports import ArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.disk_quota import DiskQuota
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.stored_files import FilesOfJob
from framegate.storage.orphans import remove_files, remove_orphans

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 10.0
ORPHANS_SECONDS = 3600.0


class Retention:
    """Remove what finished jobs leave behind.

    ``files_for`` and ``records_for`` are the seconds for which a finished job keeps its files (inputs and
    results) and its record (at least as long as the files). Temporary characters are kept as long as files,
    other characters until they are deleted. The oldest files go sooner where all have more than ``max_bytes``
    (0: any number), as `DiskQuota` says.
    """

    def __init__(
        self,
        store: ValkeyJobStore,
        characters: ValkeyCharacterStore,
        artifacts: ArtifactStore,
        *,
        files_for: float,
        records_for: float,
        max_bytes: int = 0,
    ) -> None:
        self._store = store
        self._characters = characters
        self._artifacts = artifacts
        self._files_for = files_for
        self._records_for = max(records_for, files_for)
        self._quota = DiskQuota(store, artifacts, max_bytes)

    async def run(self) -> None:
        """Sweep every few seconds, and look for orphans at the start and every hour, until cancelled.

        While this host runs, it leaves the orphans of an hour to another one that looks for them.
        """
        orphans_at, started = time.monotonic(), True
        while True:
            try:
                await self.remove_expired()
                if time.monotonic() >= orphans_at:
                    if started or not await self._store.stored_files.searched_lately():
                        await self._characters.count_uncounted()
                        await remove_orphans(self._store, self._characters, self._artifacts)
                        await self._store.stored_files.note_search(ORPHANS_SECONDS)
                    orphans_at, started = time.monotonic() + ORPHANS_SECONDS, False
            except Unavailable as error:
                log.warning("retention_postponed", reason=error.message)
            except OSError as error:
                log.warning("retention_failed", error=error.strerror)
            await asyncio.sleep(min(INTERVAL_SECONDS, max(self._files_for, 1.0)))

    async def remove_expired(self) -> int:
        """Remove what is due now; return the number of jobs whose files were removed."""
        with audit.acting_as(audit.Actor("retention")):
            removed = await self._remove_files()
            await self._quota.enforce()
            await self._remove_records()
            await self._remove_characters()
            await asyncio.to_thread(lambda: self._artifacts.clean_up(unused_for=self._files_for))
        if removed:
            log.info("files_removed", jobs=removed)
        return removed

    async def _remove_files(self) -> int:
        removed = 0
        while leased := await self._store.expired.lease_files(self._files_for):
            jobs = await self._jobs(leased)
            await self._delete([key for job in jobs for key in job.keys or ()])
            await self._store.expired.mark_files_removed(jobs)
            for job in jobs:
                audit.record("job_files_removed", job_id=job.id, owner=job.owner)
            removed += len(jobs)
        return removed

    async def _remove_records(self) -> None:
        while leased := await self._store.expired.lease_records(self._records_for):
            jobs = await self._jobs(leased)
            await self._store.expired.delete_records(jobs)
            for job in jobs:
                audit.record("job_record_removed", job_id=job.id, owner=job.owner)

    async def _remove_characters(self) -> None:
        while characters := await self._characters.lease_temporary(self._files_for):
            for character in characters:
                await self._characters.delete(character)
            await self._delete([key for character in characters for key in character.files])
            for character in characters:
                audit.record("character_deleted", character=character.username, owner=character.owner)

    async def _jobs(self, leased: Sequence[tuple[str, str]]) -> Sequence[FilesOfJob]:
        """Return those of the jobs that still are there; what a later version wrote is left to it.

        The files of a job whose record is damaged are found as orphans once the record is gone.
        """
        found = await self._store.stored_files.of([job_id for job_id, _ in leased])
        jobs = [found[job_id] for job_id, seq in leased if job_id in found and found[job_id].seq == seq]
        return [job for job in jobs if job.ended and not job.later]

    async def _delete(self, keys: Collection[str]) -> None:
        """Remove files; one that can't be removed now becomes an orphan later, and is tried again then."""
        await asyncio.to_thread(remove_files, self._artifacts, keys)
