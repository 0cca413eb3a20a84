"""Lists of jobs."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
import redis.asyncio
import structlog

from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobFilter, Page, ScannedJobs
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.job_reader import Absent, JobReader, Unreadable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.schema import decode_readable

log = structlog.get_logger(__name__)

_PAGE = 200
_STATES_PAGE = 1000
_ACTIVE = {JobState.QUEUED: "queuedby", JobState.RUNNING: "running:key"}
"""The sets of an owner's jobs in a state."""
FEW_ACTIVE = 1000
"""Up to so many active jobs of an owner are found by an intersection, which takes Valkey about 1 ms then."""

MOST_LOOKED_AT = 5000
"""The jobs that one call of `JobLists.scan` looks at, about: it takes Valkey 2 ms."""
MOST_SEARCHED = 2000
"""The same where a model's name is looked for in each record."""


class JobLists:
    """The lists of `ValkeyJobStore`.

    Jobs whose records can't be read are left out, and what points at missing ones is dropped; both is logged.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, prefix: str = PREFIX, holds_jobs: bool = False
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._reader = JobReader(client, prefix, holds_jobs=holds_jobs)
        self._calls = self._reader.connection
        self._match_jobs = client.register_script(scripts.MATCH_JOBS)
        self._scan_jobs = client.register_script(scripts.SCAN_JOBS)
        self._drop_missing = client.register_script(scripts.DROP_MISSING)

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Return at most ``limit`` jobs, newest first, in any of ``states`` or in all."""
        with outages_as_unavailable():
            if owner is None and states:
                found = [await self._newest(f"state:{state}", "", (state,), limit) for state in states]
                everybodys = itertools.chain.from_iterable(found)
                return sorted(everybodys, key=lambda job: job.seq, reverse=True)[:limit]
            if owner is None:
                return await self._newest("jobs", "", (), limit)
            places = await self._few_active(owner, states)
            if places is not None:
                active = await self._get_many(list(places), owner=owner)
                return [job for job in active if job.state in states][:limit]
            return await self._newest(f"owner:{owner}", owner, states, limit)

    async def _newest(
        self, index: str, owner: str, states: Collection[JobState], limit: int
    ) -> Sequence[Job]:
        jobs: list[Job] = []
        async with aclosing(self._newest_ids(index, states, min(limit, _STATES_PAGE))) as pages:
            async for ids in pages:
                found = await self._get_many(ids, owner=owner)
                jobs += [job for job in found if not states or job.state in states]
                if len(jobs) >= limit:
                    break
        return jobs[:limit]

    async def _newest_ids(
        self, index: str, states: Collection[JobState], page: int
    ) -> AsyncGenerator[Sequence[str]]:
        """Yield the ids of an index that are in ``states``, newest first, without reading the records."""
        size = _STATES_PAGE if states else page
        for start in itertools.count(0, size):
            last = start + size - 1
            found = await self._calls.call("ZRANGE", f"{self._prefix}{index}", start, last, "REV")
            ids = await self._matching(found, states)
            for first in range(0, len(ids), page):
                yield ids[first : first + page]
            if len(found) < size:
                return

    async def _matching(self, ids: Sequence[str], states: Collection[JobState]) -> Sequence[str]:
        """Return those of ``ids`` that are in ``states``, if there are any.

        Valkey looks them up, as one short reply costs this process a tenth of what one for each job
        does.
        """
        if not ids or not states:
            return ids
        wanted = msgspec.json.encode({"states": list(states)})
        return cast("list[str]", await self._calls.run(self._match_jobs, self._prefix, wanted, *ids))

    async def _few_active(self, owner: str, states: Collection[JobState]) -> Mapping[str, int] | None:
        """Return the owner's jobs in these states with their numbers, newest first.

        None if that is no way to find them: the states aren't only active ones, or too many jobs are in them.
        Every version keeps the two sets of active jobs. Of an owner with so many of them the newest jobs are
        active, so looking at the newest is soon done.
        """
        if not states or any(state.finished for state in states):
            return None
        active = [f"{self._prefix}{_ACTIVE[state]}:{owner}" for state in dict.fromkeys(states)]
        counts = await asyncio.gather(*(self._calls.call("SCARD", key) for key in active))
        if sum(counts) > FEW_ACTIVE:
            return None
        if not sum(counts):
            return {}
        numbered = self._client.pipeline()  # at one moment, as jobs go from one set to the other
        for key in active:
            numbered.zinter({f"{self._prefix}owner:{owner}": 1, key: 0}, withscores=True)
        found = cast("list[list[tuple[str, float]]]", await numbered.execute())
        return _newest_first(itertools.chain.from_iterable(found))

    async def scan(self, which: JobFilter, *, before: int | None, limit: int) -> ScannedJobs:
        """Return at most ``limit`` jobs that match, newest first; see `JobStore.scan`.

        Its cost doesn't depend on how many jobs there are: it begins in the middle of an index and looks at
        a bounded part of it.
        """
        with outages_as_unavailable():
            places = await self._few_active(which.owner, which.states) if which.owner is not None else None
            if places is not None:
                ids, following = _first(places, before, limit)
            else:
                ids, following = await self._look_through(which, before, limit)
            found = await self._get_many(ids, owner=which.owner or "")
        return ScannedJobs([job for job in found if which.matches(job)], following)

    async def _look_through(
        self, which: JobFilter, before: int | None, limit: int
    ) -> tuple[Sequence[str], int | None]:
        """Return the ids of jobs that may match, and the number before which more are to be looked for."""
        if which.owner is None:
            indexes = [f"state:{state}" for state in which.states] or ["jobs"]
        else:
            indexes = [f"owner:{which.owner}"]
        wanted = {
            "indexes": indexes,
            "before": before,
            "first": min(limit + 1, _PAGE),
            "largest": _STATES_PAGE,
            "most": min(MOST_LOOKED_AT, MOST_SEARCHED) if which.model else MOST_LOOKED_AT,
            "limit": limit,
            **_looks_of(which.states, which.model),
        }
        ids, *following = await self._calls.run(self._scan_jobs, self._prefix, msgspec.json.encode(wanted))
        return ids, int(following[0]) if following and following[0] is not None else None

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """Return the jobs of a collection that follow the job ``after``, or None if that was not in it."""
        index = f"{self._prefix}collection:{owner}:{collection}"
        start, end = ("+inf", "-inf") if newest_first else ("-inf", "+inf")
        with outages_as_unavailable():
            if after:
                place = await self._place(owner, collection, after)
                if place is None:
                    return None
                start = f"({place}"
            order = ("REV",) if newest_first else ()
            ids = await self._calls.call(
                "ZRANGE", index, start, end, "BYSCORE", *order, "LIMIT", 0, limit + 1
            )
            jobs = await self._get_many(ids[:limit], owner=owner, collection=collection)
            return Page(jobs, len(ids) > limit)

    async def _place(self, owner: str, collection: str, job_id: str) -> int | None:
        place, removed = await asyncio.gather(
            self._calls.call("ZSCORE", f"{self._prefix}collection:{owner}:{collection}", job_id),
            self._calls.call("GET", f"{self._prefix}removed:{owner}:{collection}:{job_id}"),
        )
        found = removed if place is None else place
        return None if found is None else int(found)

    async def _get_many(self, ids: Sequence[str], *, owner: str, collection: str = "") -> Sequence[Job]:
        found = await self._reader.get_many(ids)
        missing = [job_id for job_id, job in zip(ids, found, strict=True) if job is Absent.MISSING]
        if missing:
            await self._drop_missing(keys=[self._prefix], args=[owner, collection, *missing])
            log.warning("missing_records_dropped", records=len(missing), job_id=missing[0])
        return decode_readable(_readable, [job for job in found if not isinstance(job, Absent)])


def _newest_first(numbered: Iterable[tuple[str, float]]) -> Mapping[str, int]:
    """Return the number of each job, the highest first."""
    places = {job_id: int(number) for job_id, number in numbered}
    return dict(sorted(places.items(), key=lambda place: place[1], reverse=True))


def _first(places: Mapping[str, int], before: int | None, limit: int) -> tuple[Sequence[str], int | None]:
    """Return the first of these jobs, and the number before which there are more."""
    following = [(job_id, seq) for job_id, seq in places.items() if before is None or seq < before]
    first = following[:limit]
    return [job_id for job_id, _ in first], first[-1][1] if len(following) > limit else None


def _looks_of(states: Collection[JobState], model: str) -> Mapping[str, Sequence[str]]:
    """Return how jobs in ``states`` of ``model`` look without being decoded, if these matter."""
    # As `encode_job` writes them; whatever else has such a text is sorted out once it is decoded.
    value = msgspec.json.encode(model).decode()
    return {"states": list(states), "texts": [f'"model":{value}', f'"served_by":{value}'] if model else []}


def _readable(found: Job | Unreadable) -> Job:
    if isinstance(found, Unreadable):
        raise found.error
    return found
