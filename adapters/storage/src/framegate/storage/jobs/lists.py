"""Lists of jobs."""

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
FEW_ACTIVE = 1000
"""Up to so many active jobs of an owner are found by an intersection, which takes Valkey about 1 ms then."""

MOST_LOOKED_AT = 5000
"""The jobs that one call of `JobLists.scan` looks at, about."""


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
        self._match_jobs = client.register_script(scripts.MATCH_JOBS)
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
            if states and not any(state.finished for state in states):
                places = await self._few_active(owner)
                if places is not None:
                    active = await self._get_many(list(places), owner=owner)
                    return [job for job in active if job.state in states][:limit]
            return await self._newest(f"owner:{owner}", owner, states, limit)

    async def _newest(
        self, index: str, owner: str, states: Collection[JobState], limit: int
    ) -> Sequence[Job]:
        jobs: list[Job] = []
        async with aclosing(self._newest_ids(index, states, min(limit, _PAGE))) as pages:
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
            found = cast(
                "list[str]",
                await self._client.zrange(f"{self._prefix}{index}", start, start + size - 1, desc=True),
            )
            ids = await self._matching(found, states)
            for first in range(0, len(ids), page):
                yield ids[first : first + page]
            if len(found) < size:
                return

    async def _matching(
        self, ids: Sequence[str], states: Collection[JobState], model: str = ""
    ) -> Sequence[str]:
        """Return those of ``ids`` that are in ``states`` and may be of ``model``, or that have no record.

        Without states or a model, they don't matter. Valkey looks at the records, as one short reply costs
        this process a tenth of what one for each job does.
        """
        if not ids or not (states or model):
            return ids
        # As `encode_job` writes them; whatever else has such a text is sorted out once it is decoded.
        value = msgspec.json.encode(model).decode()
        texts = [f'"model":{value}', f'"served_by":{value}'] if model else []
        wanted = msgspec.json.encode({"states": list(states), "texts": texts})
        return cast("list[str]", await self._match_jobs(keys=[self._prefix], args=[wanted, *ids]))

    async def _few_active(self, owner: str) -> Mapping[str, int] | None:
        """Return the owner's queued and running jobs with their numbers, newest first; None if too many.

        Every version keeps these two sets. Of an owner with so many active jobs the newest ones are active,
        so looking at the newest is soon done.
        """
        active = [f"{self._prefix}{name}:{owner}" for name in ("queuedby", "running:key")]
        counts = self._client.pipeline(transaction=False)
        for key in active:
            counts.scard(key)
        if sum(await counts.execute()) > FEW_ACTIVE:
            return None
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
        jobs: list[Job] = []
        looked_at = 0
        page = step = min(limit + 1, _PAGE)
        with outages_as_unavailable():
            while True:
                places, at_end = await self._candidates(which, before, step)
                looked_at += len(places)
                ids = await self._matching(list(places), which.states, which.model)
                for first in range(0, len(ids), page):
                    part = ids[first : first + page]
                    jobs += filter(which.matches, await self._get_many(part, owner=which.owner or ""))
                    if len(jobs) > limit:
                        return ScannedJobs(jobs[:limit], jobs[limit - 1].seq)
                if at_end:
                    return ScannedJobs(jobs, None)
                before = min(places.values())
                step = min(4 * step, _STATES_PAGE)  # few of them seem to match
                if looked_at >= MOST_LOOKED_AT:
                    return ScannedJobs(jobs, before)

    async def _candidates(
        self, which: JobFilter, before: int | None, count: int
    ) -> tuple[Mapping[str, int], bool]:
        """Return the next ``count`` jobs that may match with their numbers, and whether no more follow."""
        if which.owner is None:
            indexes = [f"state:{state}" for state in which.states] or ["jobs"]
        else:
            indexes = [f"owner:{which.owner}"]
            if which.states and not any(state.finished for state in which.states):
                active = await self._few_active(which.owner)
                if active is not None:
                    return {name: n for name, n in active.items() if before is None or n < before}, True
        pipeline = self._client.pipeline(transaction=False)
        for index in indexes:
            start = "+inf" if before is None else f"({before}"
            key = f"{self._prefix}{index}"
            pipeline.zrange(key, start, "-inf", desc=True, byscore=True, offset=0, num=count, withscores=True)
        found = cast("list[list[tuple[str, float]]]", await pipeline.execute())
        places = _newest_first(itertools.chain.from_iterable(found))
        return dict(itertools.islice(places.items(), count)), len(places) < count

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
            ids = cast(
                "list[str]",
                await self._client.zrange(
                    index, start, end, byscore=True, desc=newest_first, offset=0, num=limit + 1
                ),
            )
            jobs = await self._get_many(ids[:limit], owner=owner, collection=collection)
            return Page(jobs, len(ids) > limit)

    async def _place(self, owner: str, collection: str, job_id: str) -> int | None:
        score = await self._client.zscore(f"{self._prefix}collection:{owner}:{collection}", job_id)
        if score is not None:
            return int(score)
        removed = await self._client.get(f"{self._prefix}removed:{owner}:{collection}:{job_id}")
        return None if removed is None else int(removed)

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


def _readable(found: Job | Unreadable) -> Job:
    if isinstance(found, Unreadable):
        raise found.error
    return found
