"""Finds the files that no record knows: what was stored for a job that was never accepted, or by a process
that was killed before it could say so.

What others keep in the same folder or bucket is not touched, nor are the files of another queue's jobs: whose
they are says the mark that the first one sets.
"""

import asyncio
import re
import shutil
import time
import uuid

import structlog

from framegate.core.ports import ArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.schema import NewerRecord

log = structlog.get_logger(__name__)

MARK = "installation"
"""The key of the mark."""
UNKNOWN_FOR = 3600.0
"""Seconds that a file may be there before a record has to name it: far longer than a request is read, or a
worker tries to report its result."""
_OURS = re.compile(
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
    """The number of files that were removed."""
    installation = await store.installation()
    if await asyncio.to_thread(_mark, artifacts, installation) != installation:
        log.warning("orphans_left", reason=f"another queue's jobs have set the mark {MARK!r} among the files")
        return 0
    # The files first: what is stored while the records are read is newer than these.
    keys = await asyncio.to_thread(lambda: list(artifacts.keys_before(time.time() - unknown_for)))
    old = [key for key in keys if _OURS.fullmatch(key)]
    if not old:
        return 0
    try:
        known = {key for character in await characters.each() for key in character.files}
        async for job in store.each():
            known.update(job.files)
    except NewerRecord as error:
        log.warning("orphans_left", reason=error.message)
        return 0
    orphans = [key for key in old if key not in known]
    removed = [key for key in orphans if await asyncio.to_thread(remove_file, artifacts, key)]
    if removed:
        log.info("orphans_removed", files=len(removed))
    return len(removed)


def remove_file(artifacts: ArtifactStore, key: str) -> bool:
    """False, and a line in the log, where the file system does not let it go."""
    try:
        artifacts.delete(key)
    except OSError as error:
        log.warning("file_not_removed", key=key, error=error.strerror)
        return False
    return True


def _mark(artifacts: ArtifactStore, installation: str) -> str:
    """Whose the files are: ``installation``'s, unless it is written there already."""
    folder = artifacts.workdir(f"mark-{uuid.uuid4().hex}")
    try:
        mark = artifacts.fetch(MARK, folder)
        if mark is not None:
            return mark.read_text()
        new = folder / "new"
        new.write_text(installation)
        artifacts.put(new, MARK)
        return installation
    finally:
        shutil.rmtree(folder, ignore_errors=True)
