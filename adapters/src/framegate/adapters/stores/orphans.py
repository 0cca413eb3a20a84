"""Finds the files that no record knows: what was stored for a job that was never accepted, or by a process
that was killed before it could say so."""

import asyncio
import time

import structlog

from framegate.adapters.stores.characters import ValkeyCharacterStore
from framegate.adapters.stores.jobs import ValkeyJobStore
from framegate.core.ports import ArtifactStore

log = structlog.get_logger(__name__)

UNKNOWN_FOR = 3600.0
"""Seconds that a file may be there before a record has to name it: far longer than a request is read, or a
worker tries to report its result."""


async def remove_orphans(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    artifacts: ArtifactStore,
    *,
    unknown_for: float = UNKNOWN_FOR,
) -> int:
    """The number of files that were removed."""
    # The files first: what is stored while the records are read is newer than these.
    old = await asyncio.to_thread(lambda: list(artifacts.keys_before(time.time() - unknown_for)))
    if not old:
        return 0
    known = {key for character in await characters.list(owner=None) for key in character.files}
    async for job in store.each():
        known.update(job.files)
    orphans = [key for key in old if key not in known]
    for key in orphans:
        await asyncio.to_thread(artifacts.delete, key)
    if orphans:
        log.info("orphans_removed", files=len(orphans))
    return len(orphans)
