"""Jobs as dialects and the command line see them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress

import structlog
from msgspec import Struct
from msgspec.structs import replace

from framegate.core import audit
from framegate.core.admission import Admission, AdmittedSubmission
from framegate.core.availability import WorkerAvailability
from framegate.core.character_service import CharacterService
from framegate.core.concurrency import FILE_THREADS, cancel_and_wait, to_its_end
from framegate.core.errors import (
    ArtifactGone,
    Busy,
    FramegateError,
    IdempotencyMismatch,
    InvalidRequest,
    JobExists,
    JobNotFound,
    JobUnfinished,
    KeyLimitReached,
    NotFound,
    NoWorker,
    QueueFull,
    Unavailable,
)
from framegate.core.estimates import Estimates, Outlook
from framegate.core.inputs import JobInputs
from framegate.core.job_builder import build_job
from framegate.core.job_watches import JobWatches
from framegate.core.jobs import Job, JobState
from framegate.core.ports import (
    ArtifactStore,
    IdempotencyKey,
    JobFilter,
    JobStore,
    MediaIngest,
    Page,
    QueueCounts,
    ScannedJobs,
    WorkerInfo,
)
from framegate.core.registry import Registry
from framegate.core.results import ResultAccess
from framegate.core.styles import STYLES, Style
from framegate.core.submission import Client, Submission, resubmission
from framegate.core.time_limits import time_limit
from framegate.core.webhooks import NoWebhooks, WebhookPolicy

log = structlog.get_logger(__name__)

MAX_ID = 200
"""Characters of a job's id; nothing that is longer is looked up."""
_SHORTEST_CHECK, _LONGEST_CHECK = 1.0, 3600.0
"""The seconds between two looks for the workers that a waiting call's job needs."""


class PreparedJob(Struct, frozen=True):
    """A job that can be queued, with its inputs; without ``admitted``, the earlier job that it repeats."""

    job: Job
    admitted: AdmittedSubmission | None = None
    inputs: JobInputs | None = None


class JobService:
    """Submit, find, watch, cancel and delete jobs.

    An ``owner`` of None is the operator, who sees everybody's jobs; every other owner finds only their own.
    ``max_queued`` is how many jobs may wait (0: any number); ``webhooks`` decides who is notified of the end
    of a video. ``job_timeout`` is how many seconds workers let any job run (0: as long as it likes).
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: JobStore,
        artifacts: ArtifactStore,
        media: MediaIngest,
        characters: CharacterService,
        results: ResultAccess,
        availability: WorkerAvailability,
        max_queued: int,
        styles: Mapping[str, Style] = STYLES,
        webhooks: WebhookPolicy | None = None,
        job_timeout: float = 0.0,
    ) -> None:
        self.registry = registry
        self.max_queued = max_queued
        self.styles = styles
        self.availability = availability
        self._store = store
        self._artifacts = artifacts
        self._media = media
        self._watches = JobWatches(store)
        self._webhooks = webhooks or NoWebhooks()
        self._estimates = Estimates(store)
        self._job_timeout = job_timeout
        self._admission = Admission(
            registry=registry,
            store=store,
            characters=characters,
            results=results,
            styles=styles,
            webhooks=self._webhooks,
            availability=availability,
            max_queued=max_queued,
        )

    async def submit(self, submission: Submission) -> Job:
        """Check, fit and plan the request, store its inputs, and queue the job.

        The returned job is durable. With ``idempotency`` it may be an earlier job, in any state.

        Raises:
            ModelNotFound, ModelNotAllowed, PlanRequired, InvalidRequest, NoWorker: Nothing was stored.
            Busy: Too many files wait to be decoded; nothing was stored.
            NotFound, ArtifactGone: The video to remix does not exist or was removed.
            JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached: Nothing was stored.
            Unavailable: The store can't be reached; there may be a job, if only its answer was lost.
        """
        return await self.enqueue(await self.prepare(submission))

    async def prepare(self, submission: Submission) -> PreparedJob:
        """Do all that `submit` does before it queues the job, which is what takes time, and raise its errors.

        If it is cancelled, nothing remains stored.
        """
        checked = self._admission.check_request(submission)
        # A full queue or a repeated submission is answered before inputs are fetched, and before any reason
        # to refuse it. Where there are neither, only `JobStore.submit` is called, which decides anyway.
        if submission.has_inputs and (earlier := await self._find_earlier(submission)):
            return PreparedJob(earlier)
        inputs = JobInputs(self._media, self._artifacts, owner=submission.client.identity)
        try:
            admitted = await self._admission.admit(checked)
            job = await self._limit_time(admitted, build_job(admitted, await inputs.collect(admitted)))
        except BaseException as error:  # also when the client disconnects: no job came to use them
            await inputs.discard()
            if (
                not submission.has_inputs
                and isinstance(error, FramegateError)
                # Whoever can't be reached is not asked again.
                and type(error) is not Unavailable
                and (earlier := await self._find_earlier(submission))
            ):
                return PreparedJob(earlier)
            await to_its_end(self._count_refusal(submission, error))
            raise
        return PreparedJob(job, admitted, inputs)

    async def _find_earlier(self, submission: Submission) -> Job | None:
        """Return the earlier job that the submission repeats, if there is one."""
        try:
            return await self._admission.find_earlier(submission)
        except (QueueFull, KeyLimitReached):
            raise  # the store has counted it
        except BaseException as error:
            await to_its_end(self._count_refusal(submission, error))
            raise

    async def _limit_time(self, admitted: AdmittedSubmission, job: Job) -> Job:
        expected = await self._estimates.running_seconds(job)
        timeout, setting = time_limit(
            admitted.served, admitted.submission.client, ceiling=self._job_timeout, expected=expected
        )
        return replace(job, timeout=timeout, timeout_setting=setting)

    async def enqueue(self, prepared: PreparedJob) -> Job:
        """Queue a prepared job, and return it; the errors are those of `submit`.

        Once begun this runs to its end, even if the caller is cancelled: a job is queued or it is not.
        """
        if prepared.admitted is None or prepared.inputs is None:
            return prepared.job
        return await to_its_end(self._enqueue(prepared.job, prepared.admitted, prepared.inputs))

    async def retry(
        self,
        job_id: str,
        owner: str | None = None,
        *,
        client: Client | None = None,
        request_id: str = "",
        idempotency: IdempotencyKey | None = None,
    ) -> Job:
        """Submit the request of a job that has ended again, and return the new job.

        It has copies of the same inputs, and a seed of its own only if the request named none. It belongs to
        ``client``, within whose limits it is submitted; without one, as for the operator, to the owner of the
        first job, with that job's own limits.

        Raises:
            JobNotFound: As for `get`.
            JobUnfinished: It still waits or runs.
            ArtifactGone: Its inputs were removed.
            FramegateError: The other errors of `submit`.
        """
        job = await self.get(job_id, owner)
        if not job.state.finished:
            raise JobUnfinished(f"The job {job.id} is {job.state}; only a job that has ended can be retried.")
        own_webhooks = self._webhooks.addresses("")
        submission = resubmission(
            job,
            client,
            plan=self.registry.resolve(job.model).plan,
            request_id=request_id,
            idempotency=idempotency,
            webhook_url=next((url for url in job.webhooks if url not in own_webhooks), ""),
        )
        try:
            return await self.submit(submission)
        except ArtifactGone:
            raise ArtifactGone(
                f"The inputs of the job {job.id} were removed, so it can't be retried; submit its request "
                "again, with its files."
            ) from None

    async def _count_refusal(self, submission: Submission, error: BaseException) -> None:
        """Count the refusal of a submission that its client is going to retry."""
        passes = isinstance(error, Busy) or not isinstance(error, FramegateError)
        if submission.idempotency and passes:
            # Without the store nothing can be counted. The client gets the first error.
            with suppress(Unavailable):
                await self._store.count_refusal(submission.client.name, submission.idempotency)

    async def _enqueue(self, job: Job, admitted: AdmittedSubmission, inputs: JobInputs) -> Job:
        try:
            queued = await self._store.submit(
                job, limits=admitted.limits, idempotency=admitted.submission.idempotency
            )
        except (InvalidRequest, JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached):
            # Only these errors mean that no job was stored; after others it may exist and need its inputs.
            await inputs.discard()
            raise
        if queued.id != job.id:
            await inputs.discard()
            return queued
        log.info(
            "job_submitted", job_id=job.id, dialect=job.dialect, model=job.model, served_by=job.served_by
        )
        return queued

    async def get(self, job_id: str, owner: str | None = None) -> Job:
        """Return the job.

        Raises:
            JobNotFound: No job has this id, or it belongs to another key.
        """
        job = self._store.held(job_id)
        if job is None and len(job_id) <= MAX_ID:
            job = await self._store.get(job_id)
        return _visible(job, job_id, owner)

    async def find_first(self, job_ids: Sequence[str], matches: Callable[[Job], bool]) -> Job | None:
        """Return the first of these jobs that ``matches``; unless that is held, all are read at once."""
        held = self._store.held(job_ids[0])
        if held is not None and matches(held):
            return held
        found = await asyncio.gather(
            *(self._store.get(job_id) for job_id in job_ids if len(job_id) <= MAX_ID)
        )
        return next((job for job in found if job is not None and matches(job)), None)

    async def list(
        self, *, owner: str | None = None, states: Collection[JobState] = (), limit: int = 100
    ) -> Sequence[Job]:
        """Return at most ``limit`` jobs in any of ``states`` (all, if empty), newest first."""
        return await self._store.list(owner=owner, states=states, limit=limit)

    async def scan(self, which: JobFilter, *, before: int | None = None, limit: int = 20) -> ScannedJobs:
        """Return at most ``limit`` jobs, newest first, from the number ``before`` on; see `JobStore.scan`."""
        return await self._store.scan(which, before=before, limit=limit)

    async def page(
        self,
        collection: str,
        *,
        owner: str,
        after: str = "",
        limit: int = 20,
        newest_first: bool = True,
    ) -> Page:
        """Return at most ``limit`` jobs of the owner's ``collection`` that follow the job ``after``.

        Raises:
            NotFound: There is no job ``after`` in it, nor was there within the last day.
        """
        page = None
        if len(after) <= MAX_ID:
            page = await self._store.page(
                collection, owner=owner, after=after, limit=limit, newest_first=newest_first
            )
        if page is None:
            raise NotFound(f"There is no job {after[:100]!r} in this list to continue after.", param="after")
        return page

    async def watch(
        self,
        job_id: str,
        owner: str | None = None,
        *,
        progress: bool = True,
        again_after: float | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Yield the job's current state, then each later state, ending with the final one.

        Progress is shown five times a second at most, and without ``progress`` not by itself. The state of a
        job that waits is repeated where ``again_after`` seconds bring no other.

        Raises:
            JobNotFound: As for `get`, also when the job is deleted meanwhile.
        """
        if len(job_id) > MAX_ID:
            raise _not_found(job_id)
        states = self._watches.watch(job_id, progress=progress, again_after=again_after)
        async with aclosing(states):
            async for job in states:
                yield _visible(job, job_id, owner)

    async def await_result(self, job: Job, *, progress: bool = True) -> AsyncGenerator[Job, None]:
        """Yield the states of a job for a caller that waits for its result, as `watch` does.

        If the job waits in its queue while no worker serves its model, for longer than a job would be
        accepted, it is cancelled.

        Raises:
            NoWorker: It was cancelled for this reason.
            JobNotFound: As for `watch`.
        """
        unserved: asyncio.Future[NoWorker] = asyncio.get_running_loop().create_future()
        watchdog = asyncio.create_task(self._cancel_unserved(job, unserved))
        try:
            async with aclosing(self.watch(job.id, progress=progress)) as states:
                async for state in states:
                    if state.state == JobState.CANCELLED and unserved.done():
                        raise unserved.result()
                    yield state
        finally:
            await cancel_and_wait([watchdog])

    async def _cancel_unserved(self, job: Job, unserved: "asyncio.Future[NoWorker]") -> None:
        """Cancel the job, and set ``unserved`` to the reason, once it waits without a worker."""
        pause = 0.0
        while True:
            await asyncio.sleep(min(max(pause, _SHORTEST_CHECK), _LONGEST_CHECK))
            pause = 0.0
            with suppress(Unavailable):  # an outage is not the job's; `watch` reports it to the caller
                try:
                    pause = await self.availability.check(job.served_by, job.model)
                except NoWorker as error:
                    now = await self._store.get(job.id)
                    if now is None or now.state != JobState.QUEUED:
                        continue
                    if not unserved.done():
                        unserved.set_result(error)
                    await self._store.cancel(job.id)
                    log.warning("unserved_job_cancelled", job_id=job.id, served_by=job.served_by)
                    with audit.acting_as(audit.Actor("server")):
                        audit.record("job_cancelled", job_id=job.id, owner=job.owner, dialect=job.dialect)
                    return

    async def wait(self, job_id: str, owner: str | None = None) -> Job:
        """Return the job once it has finished. Bound the wait with `asyncio.timeout`.

        Raises:
            JobNotFound: As for `watch`.
            NoWorker: As for `await_result`.
        """
        async with aclosing(self.await_result(await self.get(job_id, owner), progress=False)) as states:
            async for job in states:
                if job.state.finished:
                    return job
        raise _not_found(job_id)

    async def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Cancel a queued job at once, ask a running one to stop, leave a finished one as it is.

        Raises:
            JobNotFound: As for `get`.
        """
        before = await self.get(job_id, owner)
        job = await self._store.cancel(job_id)
        if job is None:
            raise _not_found(job_id)
        if not (before.state.finished or before.cancel_requested):
            audit.record("job_cancelled", job_id=job.id, owner=job.owner, dialect=job.dialect)
        return job

    async def delete(self, job_id: str, owner: str | None = None) -> None:
        """Remove a job with its files, and cancel it first if it has not ended.

        Raises:
            JobNotFound: As for `get`.
        """
        await self.get(job_id, owner)
        job = await self._store.delete(job_id)
        if job is None:
            raise _not_found(job_id)
        await FILE_THREADS.run(self._remove_files, job)
        await self._store.delete_record(job)
        audit.record("job_deleted", job_id=job.id, owner=job.owner, dialect=job.dialect, state=job.state)

    def _remove_files(self, job: Job) -> None:
        for key, reason in self._artifacts.delete_many(job.files).items():
            log.warning("file_not_removed", key=key, error=reason)

    async def find_by_lookup_label(self, owner: str, value: str) -> Job | None:
        """Return the owner's newest job whose label `LOOKUP_LABEL` is ``value``."""
        job_id = await self._store.find_by_lookup_label(owner, value)
        return await self._store.get(job_id) if job_id else None

    async def queue_position(self, job: Job) -> int | None:
        """Return the job's place in its queue, from 1; None if it is not queued."""
        [position] = await self._store.queue_positions([job])
        return position

    async def outlooks(self, jobs: Sequence[Job]) -> Sequence[Outlook]:
        """Return the outlook of each job; the store is asked once for all of them.

        See `Estimates.seconds_left` for what is not taken into account.
        """
        waiting = [job for job in jobs if job.state == JobState.QUEUED]
        positions: Mapping[str, int | None] = {}
        workers: Sequence[WorkerInfo] = ()
        if waiting:
            found, workers = await asyncio.gather(
                self._store.queue_positions(waiting), self.availability.live_workers()
            )
            positions = {job.id: position for job, position in zip(waiting, found, strict=True)}
        serving = {
            model: [worker for worker in workers if model in worker.models]
            for model in {job.served_by for job in waiting}
        }
        return [
            Outlook()
            if job.state.finished
            else Outlook(
                position := positions.get(job.id),
                await self._estimates.seconds_left(
                    job, position=position, workers=serving.get(job.served_by, ())
                ),
            )
            for job in jobs
        ]

    async def counts(self) -> QueueCounts:
        """Count the jobs of every state."""
        return await self._store.counts()

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the live workers."""
        return (await self._store.worker_presence()).workers


def _visible(job: Job | None, job_id: str, owner: str | None) -> Job:
    """Return the job that was found by ``job_id``, if the owner may see it."""
    if job is None or (owner is not None and job.owner != owner):
        raise _not_found(job_id)
    return job


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"There is no job {job_id[:100]!r}.")
