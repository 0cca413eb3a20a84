"""Lists of jobs."""

from collections.abc import Collection, Sequence

import msgspec
import redis.asyncio
import structlog
from msgspec import Struct

from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobFilter, Page, ScannedJobs
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.job_reader import Absent, JobReader, Unreadable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.multiplexing import MultiplexedConnection
from framegate.storage.schema import decode_readable

log = structlog.get_logger(__name__)

LARGEST_STEP = 1000
"""The jobs that a script looks at together, and the most that it returns."""
MOST_LOOKED_AT = 2500
"""The jobs that one call of `JobLists.scan` looks at, about: it takes Valkey 4 ms."""
_RECORD, _RECORD_BYTES = 3, 700
"""As how many of these one counts whose record is searched for a model's name, and how many bytes of its JSON
count as one more: searching them takes as long."""
FEW_ACTIVE = 1000
"""Up to so many active jobs of an owner are found by an intersection, which takes Valkey about 1 ms then."""


class _Search(Struct, frozen=True, omit_defaults=True):
    """What ``scan_jobs.lua`` looks for, and how."""

    states: Sequence[JobState]
    texts: Sequence[str]
    limit: int
    largest: int
    most: int
    record: int
    record_bytes: int
    few: int
    owner: str | None = None
    before: int | None = None


class JobLists:
    """The lists of `ValkeyJobStore`.

    Jobs whose records can't be read are left out, and what points at missing ones is dropped; both is logged.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, prefix: str = PREFIX, holds_jobs: bool = False
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._calls = MultiplexedConnection(client)
        self._reader = JobReader(self._calls, prefix, holds_jobs=holds_jobs)
        self._scan_jobs = client.register_script(scripts.SCAN_JOBS)
        self._page_jobs = client.register_script(scripts.PAGE_JOBS)
        self._drop_missing = client.register_script(scripts.DROP_MISSING)

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Return at most ``limit`` jobs, newest first, in any of ``states`` or in all."""
        jobs: list[Job] = []
        which = JobFilter(owner, frozenset(states))
        before: int | None = None
        while len(jobs) < limit:
            part = await self.scan(which, before=before, limit=min(limit - len(jobs), LARGEST_STEP))
            jobs += part.jobs
            if (before := part.next) is None:
                break
        return jobs

    async def scan(self, which: JobFilter, *, before: int | None, limit: int) -> ScannedJobs:
        """Return at most ``limit`` jobs that match, newest first; see `JobStore.scan`.

        Its cost doesn't depend on how many jobs there are: it begins in the middle of an index and looks at
        a bounded part of it. That is one round trip, and another one for the jobs that aren't held.
        """
        search = _Search(
            states=list(which.states),
            texts=_texts_with(which.model),
            limit=limit,
            largest=max(LARGEST_STEP, limit + 1),
            most=MOST_LOOKED_AT,
            record=_RECORD,
            record_bytes=_RECORD_BYTES,
            few=FEW_ACTIVE,
            owner=which.owner,
            before=before,
        )
        with outages_as_unavailable():
            ids, *following = await self._calls.run(
                self._scan_jobs, self._prefix, msgspec.json.encode(search)
            )
            found = await self._readable(ids, owner=which.owner or "")
        jobs = [job for job in found if which.matches(job)]
        return ScannedJobs(jobs, int(following[0]) if following else None)

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """Return the jobs of a collection that follow the job ``after``, or None if that was not in it."""
        order = "REV" if newest_first else ""
        with outages_as_unavailable():
            ids = await self._calls.run(self._page_jobs, self._prefix, owner, collection, after, limit, order)
            if ids is None:
                return None
            jobs = await self._readable(ids[:limit], owner=owner, collection=collection)
            return Page(jobs, len(ids) > limit)

    async def _readable(self, ids: Sequence[str], *, owner: str, collection: str = "") -> Sequence[Job]:
        """Return those of the jobs that a script has just found that can be read."""
        found = await self._reader.get_many(ids)
        missing = [job_id for job_id, job in zip(ids, found, strict=True) if job is Absent.MISSING]
        if missing:
            await self._drop_missing(keys=[self._prefix], args=[owner, collection, *missing])
            log.warning("missing_records_dropped", records=len(missing), job_id=missing[0])
        return decode_readable(_readable, [job for job in found if not isinstance(job, Absent)])


def _texts_with(model: str) -> Sequence[str]:
    """Return the texts of which the JSON of a job of this model has one; none for any model."""
    # As `encode_job` writes them; whatever else has such a text is sorted out once it is decoded.
    value = msgspec.json.encode(model).decode()
    # Without the first quotation mark, as a search stops at each one.
    return [f'model":{value}', f'served_by":{value}'] if model else []


def _readable(found: Job | Unreadable) -> Job:
    if isinstance(found, Unreadable):
        raise found.error
    return found
