"""Removal of files that no record names.

They were stored for a job that was never accepted, or by a process that was killed before it wrote the
record. Other files in the same folder or bucket are not touched, nor are those of another queue's jobs: the
first queue that uses the place leaves its mark there.
"""

import asyncio
import re
import time

import structlog

from framegate.core import audit
from framegate.core.errors import UnreadableRecord
from framegate.core.ports import ArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.installation import MARK, read_mark, write_mark
from framegate.storage.jobs.store import ValkeyJobStore

log = structlog.get_logger(__name__)

UNKNOWN_FOR = 3600.0
"""Seconds for which a file needs no record: far longer than it takes to read a request, or than a worker
tries to report its result."""
_FRAMEGATE_KEY = re.compile(
    r"inputs/[0-9a-f]{32}(\.png)?"
    r"|results/[^/]+/(\d+-[0-9a-z]{1,8}-\d+|look-\d+)\.[\w.]+"
    r"|characters/[0-9a-f]{32}/(avatar|reference)\.png"
)


async def remove_orphans(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    artifacts: ArtifactStore,
    *,
    unknown_for: float = UNKNOWN_FOR,
) -> int:
    """Remove our files that are older than ``unknown_for`` seconds and not named by any record.

    Returns the number of files removed: 0 if the files belong to another queue's jobs, or if one of the
    records can't be read.
    """
    installation, mark = await store.installation(), await asyncio.to_thread(read_mark, artifacts)
    if mark is None and await store.files_mark() != installation:
        await store.note_files_mark(installation)
        await asyncio.to_thread(write_mark, artifacts, installation)
        mark = installation
    if mark is None:
        log.warning(
            "orphans_left", reason=f"the mark {MARK!r} is missing among the files: are these the ones?"
        )
        return 0
    if mark != installation:
        log.warning("orphans_left", reason=f"another queue's jobs have set the mark {MARK!r} among the files")
        return 0
    # The files first: what is stored while the records are read is newer than these.
    keys = await asyncio.to_thread(lambda: list(artifacts.keys_before(time.time() - unknown_for)))
    old = [key for key in keys if _FRAMEGATE_KEY.fullmatch(key)]
    if not old:
        return 0
    try:
        known = {key for character in await characters.each() for key in character.files}
        async for job in store.each():
            known.update(job.files)
    except UnreadableRecord as error:
        log.warning("orphans_left", reason=error.message)
        return 0
    orphans = [key for key in old if key not in known]
    removed = [key for key in orphans if await asyncio.to_thread(remove_file, artifacts, key)]
    with audit.acting_as(audit.Actor("retention")):
        for key in removed:
            audit.record("orphan_removed", file=key)
    if removed:
        log.info("orphans_removed", files=len(removed))
    return len(removed)


def remove_file(artifacts: ArtifactStore, key: str) -> bool:
    """Remove the file if it is there; return False, and log why, if the file system refuses."""
    try:
        artifacts.delete(key)
    except OSError as error:
        log.warning("file_not_removed", key=key, error=error.strerror)
        return False
    return True
