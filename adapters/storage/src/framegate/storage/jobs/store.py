"""Jobs in Valkey, as the API uses them."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec
import redis.asyncio
import structlog
from msgspec.structs import replace

from framegate.core.errors import (
    FramegateError,
    IdempotencyMismatch,
    InvalidRequest,
    JobExists,
    KeyLimitReached,
    QueueFull,
    UnreadableRecord,
)
from framegate.core.jobs import Job, JobState
from framegate.core.ports import IdempotencyKey, Limits, ModelPace, QueueCounts, WorkerInfo, WorkerPresence
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.installation import INSTALLATION_KEY, MARK_KEY
from framegate.storage.jobs.change_feed import ChangeFeed
from framegate.storage.jobs.damaged import outline_of
from framegate.storage.jobs.expiry import ExpiredJobs
from framegate.storage.jobs.job_reader import NOT_A_HASH, Unreadable, decode_found
from framegate.storage.jobs.lists import JobLists
from framegate.storage.jobs.operations import ValkeyOperationStore
from framegate.storage.jobs.records import (
    FIELDS,
    MAX_RECORD,
    PREFIX,
    SUBMITTED_FIELDS,
    decode_job,
    encode_job,
    is_shown,
    readable_fields,
)
from framegate.storage.jobs.stored_files import StoredFiles
from framegate.storage.jobs.submissions import admission_check, job_submission
from framegate.storage.jobs.usage import ValkeyUsageStore
from framegate.storage.jobs.worker_store import log_missing, sweep_arguments
from framegate.storage.quotas import gpu_quota_reached, records_quota_reached, stored_quota_reached
from framegate.storage.schema import NewerRecord, damage_as_unreadable, decode_readable

log = structlog.get_logger(__name__)

_PLACES = 100
"""How many jobs' places in the queue are counted by one call."""

_PACE = msgspec.json.Decoder(tuple[float, float, int])
_WORKER = msgspec.json.Decoder(WorkerInfo)


class ValkeyJobStore(JobLists):
    """Implement `JobStore` on Valkey.

    Every method raises `Unavailable` when Valkey can't be reached or takes no writes; methods that return one
    job raise `NewerRecord` if a later version wrote it, and return its outline if its record is damaged.
    Lists leave both kinds out and say so in the log.

    With ``holds_jobs`` the state of jobs is kept in memory until Valkey says that it has changed: for the
    only process that answers for the embedded Valkey; see `framegate.storage.jobs.job_reader`.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, prefix: str = PREFIX, holds_jobs: bool = False
    ) -> None:
        super().__init__(client, prefix=prefix, holds_jobs=holds_jobs)
        self._feed = ChangeFeed(client, prefix=prefix)
        self.expired = ExpiredJobs(client, prefix=prefix)
        """What retention does to jobs."""
        self.stored_files = StoredFiles(client, prefix=prefix)
        """Which files the records name."""
        self.operations = ValkeyOperationStore(client, prefix=prefix)
        """What operators hold back."""
        self.usage = ValkeyUsageStore(client, prefix=prefix)
        """What the jobs' owners have used."""
        self._check_admission = client.register_script(scripts.CHECK_ADMISSION)
        self._submit = client.register_script(scripts.SUBMIT)
        self._count_refusal = client.register_script(scripts.COUNT_REFUSAL)
        self._cancel = client.register_script(scripts.CANCEL)
        self._delete = client.register_script(scripts.DELETE)
        self._refresh_jobs = client.register_script(scripts.REFRESH_JOBS)
        self._position = client.register_script(scripts.QUEUE_POSITION)
        self._sweep = client.register_script(scripts.SWEEP)
        self._presence = client.register_script(scripts.WORKER_PRESENCE)

    async def close(self) -> None:
        """End the subscription and close the connections."""
        await self._feed.close()
        await self._calls.close()
        await self._client.aclose()

    async def check_admission(
        self,
        job_id: str,
        owner: str,
        *,
        limits: Limits,
        idempotency: IdempotencyKey | None,
        client_id: str = "",
        dialect: str = "",
    ) -> Job | None:
        """Return the earlier job that ``idempotency`` names, or raise what `submit` would raise now."""
        new = admission_check(job_id, owner, limits, idempotency, client_id=client_id, dialect=dialect)
        with outages_as_unavailable():
            outcome, found, *details = await self._calls.run(
                self._check_admission, self._prefix, msgspec.json.encode(new)
            )
        if outcome == "earlier":
            return _job_or_outline(found, _pairs(details[0]))
        _refuse(outcome, found, limits, details)
        return None

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        """Write ``job`` and its ticket in one step, and return it or the earlier job of ``idempotency``."""
        record, stamp = encode_job(job)
        if len(record) > MAX_RECORD:
            raise InvalidRequest(
                f"The job's record would have {len(record):,} bytes; at most {MAX_RECORD:,} are accepted. "
                "Shorten the request's texts."
            )
        arguments = [
            msgspec.json.encode(job_submission(job, limits, idempotency)),
            record,
            *stamp.arguments,
            *itertools.chain.from_iterable(readable_fields(job).items()),
        ]
        with outages_as_unavailable():
            outcome, found, *details = await self._calls.run(self._submit, self._prefix, *arguments)
        if outcome == "earlier":
            return _job_or_outline(found, _pairs(details[0]))
        _refuse(outcome, found, limits, details)
        seq, submitted_at = details
        return replace(job, seq=int(seq), created_at=float(submitted_at or job.created_at))

    async def count_refusal(self, owner: str, idempotency: IdempotencyKey) -> None:
        """Remember that a submission was refused."""
        refused = admission_check("", owner, Limits(), idempotency)
        with outages_as_unavailable():
            await self._calls.run(self._count_refusal, self._prefix, msgspec.json.encode(refused))

    def held(self, job_id: str) -> Job | None:
        """Return the job as it is now, if this store holds jobs and knows that."""
        return self._reader.held(job_id)

    async def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none or it has been deleted.

        Of a job whose record is damaged it has what can still be read.
        """
        with outages_as_unavailable():
            found = await self._reader.read(job_id)
            if not isinstance(found, Unreadable):
                return found if isinstance(found, Job) else None
            # What can still be read of it stands in other fields as well.
            key = f"{self._prefix}job:{job_id}"
            try:
                fields = cast("dict[str, str]", await self._calls.call("HGETALL", key))
            except redis.ResponseError:
                raise found.error from None
        return _job_or_outline(job_id, fields) if is_shown(fields) else None

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        """Return the id of the owner's newest job whose lookup label has this value."""
        with outages_as_unavailable():
            return cast("str | None", await self._calls.call("GET", f"{self._prefix}result:{owner}:{value}"))

    async def find_shared(self, share_id: str) -> str | None:
        """Return the id of the job with that share id."""
        with outages_as_unavailable():
            return cast("str | None", await self._calls.call("GET", f"{self._prefix}share:{share_id}"))

    async def installation(self) -> str:
        """Return the random name of this set of jobs, which is kept for as long as Valkey keeps its data."""
        key = self._prefix + INSTALLATION_KEY
        with outages_as_unavailable():
            await self._client.set(key, uuid.uuid4().hex, nx=True)
            return cast("str", await self._client.get(key))

    async def files_mark(self) -> str | None:
        """Return the mark among the files that these jobs use, or None if no process has claimed any."""
        with outages_as_unavailable():
            return cast("str | None", await self._client.get(self._prefix + MARK_KEY))

    async def note_files_mark(self, mark: str) -> None:
        """Note that these jobs use the files among which ``mark`` is."""
        with outages_as_unavailable():
            await self._client.set(self._prefix + MARK_KEY, mark)

    async def queue_positions(self, jobs: Sequence[Job]) -> Sequence[int | None]:
        """Return the jobs' places in the order of service, from 1, or None for those that don't wait.

        Each takes the same time however many wait: ``queue_position.lua`` says when it is an estimate.
        """
        ids = [job.id for job in jobs]
        # Some at a time, so that no other call waits for long.
        parts = [ids[first : first + _PLACES] for first in range(0, len(ids), _PLACES)]
        with outages_as_unavailable():
            found = await asyncio.gather(
                *(self._calls.run(self._position, self._prefix, *part) for part in parts)
            )
        return list(itertools.chain.from_iterable(found))

    async def counts(self) -> QueueCounts:
        """Return the number of jobs in each state."""
        keys = (f"{self._prefix}state:{state}" for state in JobState)
        with outages_as_unavailable():
            return QueueCounts(*await asyncio.gather(*(self._calls.call("ZCARD", key) for key in keys)))

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel a waiting job, or ask a running one's worker to stop; return the job as it is then."""
        with outages_as_unavailable():
            await self._calls.run(self._cancel, self._prefix, job_id)
        return await self.get(job_id)

    async def delete(self, job_id: str) -> Job | None:
        """Delete the job, cancelling it first if it has not ended; return it as it was before."""
        with outages_as_unavailable():
            before = await self._calls.run(self._delete, self._prefix, job_id)
        await self._reader.pass_change(job_id)
        return _job_or_outline(job_id, _pairs(before)) if before else None

    async def refresh(self, jobs: Mapping[str, Job | None]) -> Mapping[str, Job | FramegateError | None]:
        """Return jobs as `get` would, by their ids; what never changes of a known one is not read again."""
        arguments: list[str | int] = [len(SUBMITTED_FIELDS), len(FIELDS), *FIELDS]
        for job_id, known in jobs.items():
            arguments += [job_id, "" if known is None else known.seq]
        with outages_as_unavailable():
            replies = await self._calls.run(self._refresh_jobs, self._prefix, *arguments)
        found: dict[str, Job | FramegateError | None] = {}
        damaged: list[str] = []
        for (job_id, known), reply in zip(jobs.items(), replies, strict=True):
            try:
                found[job_id] = _refreshed(job_id, known, reply)
            except NewerRecord as error:
                found[job_id] = error
            except UnreadableRecord:
                damaged.append(job_id)
        for job_id in damaged:
            try:
                found[job_id] = await self.get(job_id)  # with what else the record has
            except UnreadableRecord as error:
                found[job_id] = error
        return found

    def follow(self, on_change: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``on_change`` whenever jobs may have changed; see `ChangeFeed.follow`."""
        return self._feed.follow(on_change)

    async def worker_presence(self) -> WorkerPresence:
        """Return what the live workers announce, by host and age, and when models were last served."""
        with outages_as_unavailable():
            alive, seen = await self._calls.run(self._presence, self._prefix)
        infos = decode_readable(_decode_worker, cast("list[str]", alive))
        infos.sort(key=lambda info: (info.host, info.started_at))
        last_seen = {model: float(age) for model, age in zip(seen[::2], seen[1::2], strict=True)}
        # Workers of 0.1 announce themselves, but don't note when models were served.
        last_seen |= {model: 0.0 for info in infos for model in info.models}
        return WorkerPresence(infos, last_seen)

    async def model_paces(self) -> Mapping[str, ModelPace]:
        """Return how fast each model is of which a job has succeeded within the last 90 days."""
        with outages_as_unavailable():
            known = cast("dict[str, str]", await self._calls.call("HGETALL", f"{self._prefix}paces"))
        paces = decode_readable(_decode_pace, known.items())
        return dict(paces)

    async def delete_record(self, job: Job) -> None:
        """Remove the record of a job that has ended, and all that points at it."""
        await self.expired.delete_records([job])
        await self._reader.pass_change(job.id)

    async def sweep(self, *, interval: float = 0.0) -> int:
        """Requeue or fail the jobs whose workers' leases have expired, and replace lost tickets.

        Nothing is done if that was done less than ``interval`` seconds ago, by whomever. Return the number of
        jobs.
        """
        with outages_as_unavailable():
            lost, _, missing = await self._sweep(keys=[self._prefix], args=sweep_arguments(interval))
        log_missing(missing)
        return int(lost)


def _decode_pace(field: tuple[str, str]) -> tuple[str, ModelPace]:
    model, text = field
    with damage_as_unreadable("The pace of a model"):
        return model, ModelPace(*_PACE.decode(text))


def _pairs(flat: Sequence[str]) -> Mapping[str, str]:
    """Return a hash as a script returns it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _decode_worker(text: str) -> WorkerInfo:
    with damage_as_unreadable("A worker's announcement"):
        return _WORKER.decode(text)


def _job_or_outline(job_id: str, fields: Mapping[str, str]) -> Job:
    found = decode_found(job_id, fields)
    if not isinstance(found, Unreadable):
        return found
    if isinstance(found.error, NewerRecord):
        raise found.error
    log.error("job_unreadable", job_id=job_id, reason=found.error.message)
    return outline_of(job_id, fields)


def _refreshed(job_id: str, known: Job | None, reply: Sequence[str | None] | redis.RedisError) -> Job | None:
    if isinstance(reply, redis.RedisError):
        raise UnreadableRecord(NOT_A_HASH)
    names = FIELDS[-len(reply) :]  # of a known job there are only those that change
    fields = {name: value for name, value in zip(names, reply, strict=True) if value is not None}
    return decode_job({**fields, "id": job_id}, known) if is_shown(fields) else None


def _refuse(outcome: str, found: str, limits: Limits, amounts: Sequence[str]) -> None:
    """Raise the reason for which a script did not admit a new job, if it gave one."""
    match outcome:
        case "new":
            return
        case "mismatch":
            raise IdempotencyMismatch(
                "This idempotency key was used for another request; a new request needs a new key."
            )
        case "exists":
            raise JobExists(f"A job with the id {found} already exists.", param="job_id")
        case "full":
            limit = limits.max_queued
            raise QueueFull(f"The queue is full ({limit} jobs are waiting).", limit=limit)
        case "owner_full":
            limit = limits.owner_max_queued
            raise KeyLimitReached(f"This key has {limit} jobs waiting, which is its limit.")
        case "owner_stored":
            raise stored_quota_reached(int(amounts[0]), limits.owner_max_stored)
        case "owner_records":
            raise records_quota_reached(int(amounts[0]), limits.owner_max_records)
        case "owner_gpu_seconds":
            used, seconds_left = amounts
            raise gpu_quota_reached(float(used), limits.owner_daily_gpu_seconds, int(seconds_left))
        case _:
            limit = limits.owner_max_active
            raise KeyLimitReached(f"This key has {limit} jobs at once, which is its limit.")
