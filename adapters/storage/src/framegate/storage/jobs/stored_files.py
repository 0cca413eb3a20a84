"""Which files the records of jobs name, read in bulk and without decoding the jobs where that is possible."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import cast

import redis.asyncio
import structlog
from msgspec import Struct
from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from framegate.core.errors import Unavailable, UnreadableRecord
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import FILE_FIELDS, PREFIX, files_of
from framegate.storage.schema import (
    NewerRecord,
    damage_as_unreadable,
    read_stamp,
    require_readable,
)

log = structlog.get_logger(__name__)

PAGE = 500
"""How many records are read in one trip."""
TURN_SECONDS = 600.0
"""How long a host that looks for orphans may take for a page of files, before another one may begin."""
_NUMBER = re.compile(r"[0-9]{1,15}")
_LIGHT = ("seq", "state", "owner", "attempt", "worker", *(name for name in FILE_FIELDS if name != "job"))


class FilesOfJob(Struct, frozen=True):
    """What the record of a job says of its files.

    Attributes:
        id: The id of the job.
        seq: Its number in the order of submission, as it is stored.
        owner: The name of the key that submitted it.
        ended: Whether it has ended.
        attempt_name: What the names of its current attempt's files begin with, as `Job.attempt_name` says.
        keys: The keys of its files; None if the record can't be read.
        later: Whether a later version wrote the record.
    """

    id: str
    seq: str
    owner: str
    ended: bool
    attempt_name: str
    keys: tuple[str, ...] | None
    later: bool = False

    def may_have(self, key: str) -> bool:
        """Return whether ``key``, which begins with ``results/`` and the job's id, may be a file of it."""
        if self.keys is None or key in self.keys:
            return True
        # What a running attempt stores is named only when it ends.
        return not self.ended and key.startswith(f"results/{self.id}/{self.attempt_name}-")


class StoredFiles:
    """Read what the records say of files.

    Every method raises `Unavailable` when Valkey can't be reached.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix

    async def of(self, ids: Sequence[str]) -> Mapping[str, FilesOfJob]:
        """Return by id the jobs that have a record, deleted ones that still run among them."""
        records = {
            job_id: fields
            for job_id, fields in zip(ids, await self._read(ids, _LIGHT), strict=True)
            if "state" in fields
        }
        # Those that earlier versions wrote name their files only in the job's JSON.
        older = [job_id for job_id, fields in records.items() if "files" not in fields]
        for job_id, fields in zip(older, await self._read(older, ("job",)), strict=True):
            records[job_id] |= fields
        return {job_id: _files(job_id, fields) for job_id, fields in records.items()}

    async def pages(self) -> AsyncGenerator[Sequence[FilesOfJob]]:
        """Yield all jobs whose files have not been removed, a page at a time, some of them more than once.

        A job that is submitted meanwhile may be missing.
        """
        # A job only goes from here to there, so those that are in neither are new or have no files any more.
        with outages_as_unavailable():
            active = self._client.pipeline()
            for state in ("queued", "running"):
                active.zrange(f"{self._prefix}state:{state}", 0, -1)
            found = cast("list[list[str]]", await active.execute())
        ids = list(chain.from_iterable(found))
        for start in range(0, len(ids), PAGE):
            yield list((await self.of(ids[start : start + PAGE])).values())
        cursor = 0
        while True:
            with outages_as_unavailable():
                cursor, ended = await self._client.zscan(f"{self._prefix}finished", cursor, count=PAGE)
            yield list((await self.of([str(job_id) for job_id, _ in ended])).values())
            if not cursor:
                return

    @asynccontextmanager
    async def searching(self) -> AsyncGenerator["SearchTurn | None"]:
        """Let this host be the only one that looks for orphans; None if another one does so now."""
        lock = self._client.lock(f"{self._prefix}orphans", timeout=TURN_SECONDS)
        with outages_as_unavailable():
            mine = await lock.acquire(blocking=False)
        try:
            yield SearchTurn(lock) if mine else None
        finally:
            if mine:
                with suppress(redis.RedisError):  # it ends by itself
                    await lock.release()

    async def searched_lately(self) -> bool:
        """Return whether a host has looked for orphans within the time that it gave `note_search`."""
        with outages_as_unavailable():
            return bool(await self._client.exists(f"{self._prefix}orphans:searched"))

    async def note_search(self, seconds: float) -> None:
        """Note that orphans have been looked for, so that no other host needs to for that long."""
        with outages_as_unavailable():
            await self._client.set(f"{self._prefix}orphans:searched", 1, ex=int(seconds))

    async def _read(self, ids: Sequence[str], names: Sequence[str]) -> Sequence[dict[str, str]]:
        if not ids:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(f"{self._prefix}job:{job_id}", names)
        with outages_as_unavailable():
            found = cast("list[list[str | None]]", await pipeline.execute())
        return [
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for values in found
        ]


class SearchTurn:
    """The time for which this host alone looks for orphans."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def prolong(self) -> None:
        """Begin the `TURN_SECONDS` again.

        Raises:
            Unavailable: The turn has ended, because this host was too slow, or Valkey can't be reached.
        """
        try:
            with outages_as_unavailable():
                await self._lock.reacquire()
        except LockError:
            raise Unavailable("Another host looks for orphans by now.") from None


def _files(job_id: str, fields: Mapping[str, str]) -> FilesOfJob:
    keys: tuple[str, ...] | None = None
    later = False
    try:
        with damage_as_unreadable(f"The record of the job {job_id}"):
            for part in ("", "result_"):
                require_readable(read_stamp(fields, part))
        keys = files_of(fields)
    except UnreadableRecord as error:
        later = isinstance(error, NewerRecord)
        log.warning("files_unknown", job_id=job_id, reason=error.message)
    seq, attempt, worker = fields.get("seq", ""), fields.get("attempt", ""), fields.get("worker", "")
    return FilesOfJob(
        id=job_id,
        seq=seq if _NUMBER.fullmatch(seq) else "0",  # as the scripts read a damaged one
        owner=fields.get("owner", ""),
        ended=fields.get("state") not in ("queued", "running"),
        attempt_name=f"{seq}-{attempt}-{worker[:8]}",
        keys=keys,
        later=later,
    )
