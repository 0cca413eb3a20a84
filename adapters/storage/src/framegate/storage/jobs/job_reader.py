"""Read jobs: many in one round trip, and those that haven't changed since the last time in none.

Valkey tells a connection with client tracking which of the keys that it has read have changed. Replies and
these invalidations come in one stream, in the order of the changes. So a job that was decoded from it is
present until its invalidation has been read from the same stream. Whatever else this process answers clients
about jobs comes from there as well, so whoever finds a job in the cache finds nothing older than what was
answered before. Webhooks are sent by what another connection has read, which may be newer for a moment. By
the time at which their receiver can have asked, the invalidation has long been there.

What *another* process has answered may be newer for a moment: Valkey writes the replies of one turn of its
loop one after the other, and not in the order of the commands. So only a process that answers alone may
answer without asking. Any process may use jobs that it holds after a reply of this connection: what had
changed before that call came before its reply.
"""

import asyncio
import select
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, cast

import redis
from msgspec import Struct

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import Job
from framegate.storage.jobs.job_cache import JobCache
from framegate.storage.jobs.records import FIELDS, decode_job, is_shown
from framegate.storage.multiplexing import MultiplexedConnection


class Absent(Enum):
    """Why there is no job: it has no record, or is deleted."""

    MISSING = "missing"
    DELETED = "deleted"


class Unreadable(Struct, frozen=True):
    """A record that can't be decoded, with the reason."""

    error: UnreadableRecord


NOT_A_HASH = "The record of this job is not a hash."

Found = Job | Unreadable | Absent
"""What a job's key holds."""


class JobReader:
    """Read jobs over the connection of all ``calls``.

    Those of lists are kept until Valkey says that they have changed, if it does that; with ``holds_jobs`` all
    are, and are `held` without a round trip. No other process may answer for this server then.
    """

    def __init__(self, calls: MultiplexedConnection, prefix: str, *, holds_jobs: bool) -> None:
        self._calls = calls
        self._prefix = f"{prefix}job:"
        self._cache = JobCache()
        self._is_tracking = False
        self._unread = select.poll() if holds_jobs else None
        self._polled: int | None = None
        calls.track(self)

    async def read(self, job_id: str) -> Found:
        """Read the job from Valkey, as it is at some moment after this call."""
        try:
            return cast("Found", await self._request(job_id, is_tracked=self._unread is not None))
        except redis.ResponseError as error:
            return _not_a_hash(error)

    async def pass_change(self, job_id: str) -> None:
        """Return when a change of the job that Valkey has confirmed on whichever connection is known here."""
        if self._unread is not None and self._is_tracking:
            try:
                await self.read(job_id)
            except redis.RedisError:  # the change is made nevertheless
                self._cache.discard(job_id)

    async def get_many(self, job_ids: Sequence[str]) -> Sequence[Found]:
        """Return the jobs that the last reply of the connection has named, in their order.

        Those that aren't held are read in one round trip.
        """
        held = {job_id: self._cache.get(job_id) for job_id in job_ids}
        requested = {
            job_id: self._request(job_id, is_tracked=True) for job_id, job in held.items() if job is None
        }
        replies = await asyncio.gather(*requested.values(), return_exceptions=True)
        found = {
            job_id: _not_a_hash(reply) if isinstance(reply, BaseException) else cast("Found", reply)
            for job_id, reply in zip(requested, replies, strict=True)
        }
        return [held[job_id] or found[job_id] for job_id in job_ids]

    def held(self, job_id: str) -> Job | None:
        """Return the job if its present state is held."""
        return self._cache.get(job_id) if self._is_current() else None

    def _request(self, job_id: str, *, is_tracked: bool) -> "asyncio.Future[Any]":
        is_tracked = is_tracked and self._is_tracking
        return self._calls.call(
            "HMGET",
            self._prefix + job_id,
            *FIELDS,
            convert=partial(self._decode, job_id, is_tracked),
            is_tracked=is_tracked,  # scripts read many keys, which matter to nobody
        )

    def _decode(self, job_id: str, is_tracked: bool, values: Sequence[str | None]) -> Found:
        fields = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
        if not fields:
            return Absent.MISSING
        if not is_shown(fields):
            return Absent.DELETED
        found = decode_found(job_id, fields)
        if is_tracked and self._is_tracking and isinstance(found, Job):
            self._cache.put(found, fields.values())
        return found

    def _is_current(self) -> bool:
        """Return whether all that has come is parsed, as there may be an invalidation in it."""
        return self._is_tracking and self._unread is not None and not self._unread.poll(0)

    def on_tracking(self, *, is_tracking: bool) -> None:
        """Begin to keep jobs, or forget them."""
        if self._unread is not None and self._polled is not None:
            self._unread.unregister(self._polled)
        self._polled = None
        self._cache.clear()
        descriptor = self._calls.descriptor
        self._is_tracking = is_tracking and descriptor is not None
        if self._unread is not None and self._is_tracking and descriptor is not None:
            self._unread.register(descriptor, select.POLLIN)
            self._polled = descriptor

    def on_invalidated(self, keys: Sequence[str] | None) -> None:
        """Forget jobs that have changed."""
        if keys is None:  # all keys are gone
            self._cache.clear()
            return
        for key in keys:
            self._cache.discard(key.removeprefix(self._prefix))


def _not_a_hash(error: BaseException) -> Unreadable:
    """Return what the key of a job holds that can't be read as one; other errors are raised."""
    if not str(error).startswith("WRONGTYPE "):
        raise error
    return Unreadable(UnreadableRecord(NOT_A_HASH))


def decode_found(job_id: str, fields: Mapping[str, str]) -> Job | Unreadable:
    """Return the job whose hash has these fields."""
    try:
        return decode_job({**fields, "id": job_id})
    except UnreadableRecord as error:
        return Unreadable(error)
