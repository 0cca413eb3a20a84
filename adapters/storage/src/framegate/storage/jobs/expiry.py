"""Jobs whose files or records have been kept long enough, in batches that any number of hosts share."""

import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol, cast

import redis.asyncio
from msgspec import Struct

from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX

LEASE_SECONDS = 60.0
"""How long a batch is left to the host that took it, and what can't be dealt with is left alone."""
_NUMBER = re.compile(r"[0-9]{1,15}")
BATCH = 50
"""How many jobs a host takes at a time. With as many each script keeps Valkey busy for less than 5 ms."""


class Numbered(Protocol):
    """A job by its id and its number in the order of submission, which no later one of that id has."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def seq(self) -> int | str:
        """The number."""
        ...


class EndedJob(Struct, frozen=True):
    """A job that has ended, with its number in the order of submission and the bytes of its files."""

    id: str
    seq: str
    stored: int


class ExpiredJobs:
    """What retention does to jobs that have ended.

    Every method raises `Unavailable` when Valkey can't be reached or takes no writes. Times are those of its
    clock.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self._lease = client.register_script(scripts.LEASE_EXPIRED_JOBS)
        self._mark_files_removed = client.register_script(scripts.MARK_FILES_REMOVED)
        self._delete_record = client.register_script(scripts.DELETE_RECORD)
        self._client = client
        self._stored_bytes = client.register_script(scripts.STORED_BYTES)

    async def lease_files(self, kept_for: float) -> Sequence[tuple[str, str]]:
        """Lease jobs that ended ``kept_for`` seconds ago and may have files; return their ids and numbers.

        Jobs that were deleted are among them. They are due again after the lease, until `mark_files_removed`.
        """
        return await self._leased("finished", kept_for)

    async def lease_records(self, kept_for: float) -> Sequence[tuple[str, str]]:
        """Lease jobs that ended ``kept_for`` seconds ago and whose files are gone, as `lease_files` does."""
        return await self._leased("records", kept_for)

    async def _leased(self, index: str, kept_for: float) -> Sequence[tuple[str, str]]:
        arguments: list[str | float] = [index, kept_for, BATCH, LEASE_SECONDS]
        with outages_as_unavailable():
            found = cast("list[str]", await self._lease(keys=[self._prefix], args=arguments))
        return list(zip(found[::2], found[1::2], strict=True))

    async def stored_bytes(self) -> int:
        """Return how many bytes the files of all jobs have, inputs and results."""
        while True:
            with outages_as_unavailable():
                found = cast("str | None", await self._stored_bytes(keys=[self._prefix]))
            if found is not None:
                return int(found)

    async def oldest(self, start: int) -> Sequence[EndedJob]:
        """Return a batch of the jobs that have ended and may have files, those first that ended first.

        ``start`` is how many of them are left out.
        """
        with outages_as_unavailable():
            ids = cast(
                "list[str]", await self._client.zrange(f"{self._prefix}finished", start, start + BATCH - 1)
            )
            records = self._client.pipeline(transaction=False)
            for job_id in ids:
                records.hmget(f"{self._prefix}job:{job_id}", "seq", "stored")
            found = cast("list[tuple[str | None, str | None]]", await records.execute() if ids else [])
        return [
            EndedJob(job_id, seq or "", _number_in(stored))
            for job_id, (seq, stored) in zip(ids, found, strict=True)
        ]

    @asynccontextmanager
    async def quota_turn(self) -> AsyncGenerator[bool]:
        """Let this host be the only one that keeps the disk quota; False if another one does so now."""
        lock = self._client.lock(f"{self._prefix}disk_quota", timeout=LEASE_SECONDS)
        with outages_as_unavailable():
            mine = await lock.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                with suppress(redis.RedisError):  # it ends by itself
                    await lock.release()

    async def mark_files_removed(self, jobs: Iterable[Numbered]) -> None:
        """Note that the files of these jobs have been removed; their records stay for a while."""
        with outages_as_unavailable():
            await self._mark_files_removed(keys=[self._prefix], args=_arguments(jobs))

    async def delete_records(self, jobs: Iterable[Numbered]) -> None:
        """Remove the records of those of the jobs that have ended, and all that points at them."""
        with outages_as_unavailable():
            await self._delete_record(keys=[self._prefix], args=_arguments(jobs))


def _number_in(stored: str | None) -> int:
    """Return what is stored by a record; 0 if it is damaged, as the scripts read it."""
    return int(stored) if stored and _NUMBER.fullmatch(stored) else 0


def _arguments(jobs: Iterable[Numbered]) -> list[str | int]:
    return [argument for job in jobs for argument in (job.id, job.seq)]
