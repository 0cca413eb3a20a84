"""Removal of files and records that have been kept long enough.

Due times are kept in Valkey, so they survive a restart.
"""

import asyncio
import time
from collections.abc import Iterable

import structlog

from framegate.core import audit
from framegate.core.errors import Unavailable
from framegate.core.ports import ArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.orphans import remove_file, remove_orphans

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 10.0
ORPHANS_SECONDS = 3600.0


class Retention:
    """Remove what finished jobs leave behind.

    ``files_for`` and ``records_for`` are the seconds for which a finished job keeps its files (inputs and
    results) and its record (at least as long as the files). Temporary characters are kept as long as files,
    other characters until they are deleted.
    """

    def __init__(
        self,
        store: ValkeyJobStore,
        characters: ValkeyCharacterStore,
        artifacts: ArtifactStore,
        *,
        files_for: float,
        records_for: float,
    ) -> None:
        self._store = store
        self._characters = characters
        self._artifacts = artifacts
        self._files_for = files_for
        self._records_for = max(records_for, files_for)

    async def run(self) -> None:
        """Sweep every few seconds, and look for orphans every hour, until cancelled."""
        orphans_at = time.monotonic()
        while True:
            try:
                await self.remove_expired()
                if time.monotonic() >= orphans_at:
                    await self._characters.count_uncounted()
                    await remove_orphans(self._store, self._characters, self._artifacts)
                    orphans_at = time.monotonic() + ORPHANS_SECONDS
            except Unavailable as error:
                log.warning("retention_postponed", reason=error.message)
            except OSError as error:
                log.warning("retention_failed", error=error.strerror)
            await asyncio.sleep(min(INTERVAL_SECONDS, max(self._files_for, 1.0)))

    async def remove_expired(self) -> int:
        """Remove what is due now; return the number of jobs whose files were removed."""
        with audit.acting_as(audit.Actor("retention")):
            return await self._remove_expired(time.time())

    async def _remove_expired(self, now: float) -> int:
        removed = 0
        while jobs := await self._store.finished_before(now - self._files_for):
            for job in jobs:
                await asyncio.to_thread(self._delete, job.files)
                await self._store.mark_files_removed(job)
                audit.record("job_files_removed", job_id=job.id, owner=job.owner)
            removed += len(jobs)
        while jobs := await self._store.records_before(now - self._records_for):
            for job in jobs:
                await self._store.delete_record(job)
                audit.record("job_record_removed", job_id=job.id, owner=job.owner)
        for character in await self._characters.temporary_before(now - self._files_for):
            await self._characters.delete(character)
            await asyncio.to_thread(self._delete, character.files)
            audit.record("character_deleted", character=character.username, owner=character.owner)
        await asyncio.to_thread(lambda: self._artifacts.clean_up(unused_for=self._files_for))
        if removed:
            log.info("files_removed", jobs=removed)
        return removed

    def _delete(self, keys: Iterable[str]) -> None:
        """Remove files; one that can't be removed now becomes an orphan later, and is tried again then."""
        for key in keys:
            remove_file(self._artifacts, key)
