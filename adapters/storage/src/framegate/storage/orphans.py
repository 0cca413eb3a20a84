"""Removal of files that no record names.

They were stored for a job that was never accepted, or by a process that was killed before it wrote the
record. Other files in the same folder or bucket are not touched, nor are those of another queue's jobs: the
first queue that uses the place leaves its mark there.

Memory is bounded, however many files and records there are. A result's key says which job it belongs to, so
for each page of keys the records of their jobs are read. An input's key doesn't: `MAX_INPUTS` old ones at a
time are held against all records of jobs that may have files.
"""

import asyncio
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import structlog

from framegate.core import audit
from framegate.core.errors import UnreadableRecord
from framegate.core.ports import ArtifactStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.installation import MARK, read_mark, write_mark
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.stored_files import StoredFiles

log = structlog.get_logger(__name__)

UNKNOWN_FOR = 3600.0
"""Seconds for which a file needs no record: far longer than it takes to read a request, or than a worker
tries to report its result."""
PAGE = 1000
"""How many keys of files are looked at in one step."""
MAX_INPUTS = 200_000
"""How many keys of inputs are held in memory: some 30 MB."""
_FRAMEGATE_KEY = re.compile(
    r"inputs/[0-9a-f]{32}(\.png)?"
    r"|results/[^/]+/((\d+-)?\d+-[0-9a-z]{1,8}-(partial-)?\d+|look-\d+)\.[\w.]+"
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

    Returns the number of files removed: 0 if the files belong to another queue's jobs, or if another host is
    looking for orphans.
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
    async with store.stored_files.searching() as turn:
        if turn is None:
            return 0
        search = _OrphanSearch(store.stored_files, artifacts, await _character_files(characters))
        keys = artifacts.keys_older_than(unknown_for)
        while page := await asyncio.to_thread(_next_page, keys):
            await turn.prolong()
            await search.look_at([key for key in page if _FRAMEGATE_KEY.fullmatch(key)])
        await search.look_at_inputs()
    if search.removed:
        log.info("orphans_removed", files=search.removed)
    return search.removed


class _OrphanSearch:
    """``character_files`` are the keys of all characters' files; None if these are not known."""

    def __init__(
        self, stored: StoredFiles, artifacts: ArtifactStore, character_files: Collection[str] | None
    ) -> None:
        self.removed = 0
        self._stored = stored
        self._artifacts = artifacts
        self._character_files = character_files
        self._inputs: set[str] = set()

    async def look_at(self, keys: Sequence[str]) -> None:
        """Remove the orphans among some old files; inputs are collected first."""
        results = [key for key in keys if key.startswith("results/")]
        jobs = await self._stored.of(list(dict.fromkeys(map(_job_of, results))))
        orphans = [key for key in results if (job := jobs.get(_job_of(key))) is None or not job.may_have(key)]
        if self._character_files is not None:
            orphans += [
                key for key in keys if key.startswith("characters/") and key not in self._character_files
            ]
        await self._remove(orphans)
        self._inputs.update(key for key in keys if key.startswith("inputs/"))
        if len(self._inputs) >= MAX_INPUTS:
            await self.look_at_inputs()

    async def look_at_inputs(self) -> None:
        """Remove the orphans among the inputs that were collected."""
        if not self._inputs:
            return
        orphans, self._inputs = self._inputs, set()
        async for jobs in self._stored.pages():
            for job in jobs:
                orphans.difference_update(job.keys or ())
                if job.keys is None and (job.later or not job.ended):
                    log.warning("orphans_left", reason=f"the inputs of the job {job.id} are not known")
                    return
            if not orphans:
                return
        await self._remove(list(orphans))

    async def _remove(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        refused = await asyncio.to_thread(remove_files, self._artifacts, keys)
        with audit.acting_as(audit.Actor("retention")):
            for key in keys:
                if key not in refused:
                    audit.record("orphan_removed", file=key)
                    self.removed += 1


def remove_files(artifacts: ArtifactStore, keys: Collection[str]) -> Collection[str]:
    """Remove the files that are there; return those that the store refuses to remove, and log why."""
    refused = artifacts.delete_many(keys)
    for key, reason in refused.items():
        log.warning("file_not_removed", key=key, error=reason)
    return refused


async def _character_files(characters: ValkeyCharacterStore) -> Collection[str] | None:
    try:
        return {key for character in await characters.each() for key in character.files}
    except UnreadableRecord as error:
        log.warning("orphans_left", reason=error.message)
        return None


def _job_of(key: str) -> str:
    """Return the id of the job whose result has this key."""
    return key.split("/", 2)[1]


def _next_page(keys: Iterator[str]) -> list[str]:
    return list(islice(keys, PAGE))
