"""All that a dialect or the command line may call."""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import structlog
from msgspec import Struct
from msgspec.structs import replace

from framegate.core import planning
from framegate.core.errors import ArtifactGone, InvalidRequest, JobExists, JobNotFound
from framegate.core.jobs import Job, JobState
from framegate.core.models import fit
from framegate.core.ports import ArtifactStore, JobStore, MediaFetcher, MediaSource, QueueCounts, WorkerInfo
from framegate.core.registry import Registry, ServedModel
from framegate.core.types import Artifact, GenerationRequest, MediaKind, MediaRef, Task

log = structlog.get_logger(__name__)

MAX_PROMPT = 100_000
SEED_RANGE = 2**31
_INPUT_KINDS = {"image": MediaKind.IMAGE, "last_image": MediaKind.IMAGE, "video": MediaKind.VIDEO}


class Client(Struct, frozen=True):
    """Who asks: the name and the limits of a key. ``name`` is empty where no keys are configured."""

    name: str = ""
    plan: str = ""
    max_queued: int = 0
    max_running: int = 0


class Submission(Struct, frozen=True, kw_only=True):
    """A job to be made.

    ``media`` holds inputs by request field ("image", "last_image", "video"). ``job_id`` is the client's
    own id for it, if the dialect allows one. ``labels`` are kept with the job for the dialect.
    """

    dialect: str
    request: GenerationRequest
    client: Client = Client()
    media: Mapping[str, MediaSource] = {}
    job_id: str = ""
    request_id: str = ""
    labels: Mapping[str, str] = {}


class JobService:
    """Jobs, from the outside. ``owner`` None means the operator, who sees everybody's jobs; every other
    owner finds only their own."""

    def __init__(
        self,
        *,
        registry: Registry,
        store: JobStore,
        artifacts: ArtifactStore,
        media: MediaFetcher,
        max_queued: int,
    ) -> None:
        self.registry = registry
        self.max_queued = max_queued
        self._store = store
        self._artifacts = artifacts
        self._media = media

    def model(self, name: str) -> ServedModel:
        """Raises:
        ModelNotFound: there is no such name.
        """
        return self.registry.resolve(name)

    async def submit(self, submission: Submission) -> Job:
        """Check, fit and plan the request, store its inputs, and queue it. When this returns, the job
        survives whatever happens.

        Raises:
            ModelNotFound, InvalidRequest: nothing was stored.
            JobExists, QueueFull, KeyLimitReached, Unavailable: likewise; the inputs are removed again.
        """
        request = submission.request
        served = self.registry.resolve(request.model)
        _check_prompt(request)
        if submission.job_id and await self._store.get(submission.job_id):
            raise JobExists(f"There is a job with the id {submission.job_id} already.", param="job_id")
        # What needs no picture is checked before one is fetched.
        fit(served.spec, request)
        taken: dict[str, MediaRef] = {}
        try:
            for name, source in submission.media.items():
                try:
                    taken[name] = await self._media.take(source, _INPUT_KINDS[name])
                except InvalidRequest as error:
                    error.param = error.param or name
                    raise
            job = self._make_job(submission, served, replace(request, **taken))
            await self._store.submit(
                job, max_queued=self.max_queued, owner_max_queued=submission.client.max_queued
            )
        except BaseException:  # whatever happened, a client's leaving too: no job came to use them
            for ref in taken.values():
                self._media.discard(ref)
            raise
        log.info(
            "job_submitted", job_id=job.id, dialect=job.dialect, model=job.model, served_by=job.served_by
        )
        return job

    def _make_job(self, submission: Submission, served: ServedModel, request: GenerationRequest) -> Job:
        _check_inputs(request)
        fitted = fit(served.spec, request)
        seed = secrets.randbelow(SEED_RANGE) if request.seed is None else request.seed
        return Job(
            id=submission.job_id or uuid.uuid4().hex,
            model=request.model,
            served_by=served.spec.id,
            queue=served.spec.queue,
            dialect=submission.dialect,
            request=fitted.request,
            shots=planning.plan(served.spec, fitted, seed),
            changes=fitted.changes,
            created_at=time.time(),
            owner=submission.client.name,
            max_running=submission.client.max_running,
            request_id=submission.request_id,
            labels=dict(submission.labels),
        )

    async def get(self, job_id: str, owner: str | None = None) -> Job:
        """Raises:
        JobNotFound: there is none, or it is another key's.
        """
        job = await self._store.get(job_id)
        if job is None or (owner is not None and job.owner != owner):
            raise JobNotFound(f"There is no job {job_id[:100]!r}.")
        return job

    async def list(
        self, *, owner: str | None = None, states: Collection[JobState] = (), limit: int = 100
    ) -> Sequence[Job]:
        """Newest first."""
        return await self._store.list(owner=owner, states=states, limit=limit)

    async def watch(self, job_id: str, owner: str | None = None) -> AsyncGenerator[Job, None]:
        """The job now and after every change, until it has finished (its last state included).

        Raises:
            JobNotFound: as for `get`, also when it is deleted meanwhile.
        """
        async with self._store.changes(job_id) as ticks:
            job = await self.get(job_id, owner)
            yield job
            while not job.state.finished:
                await anext(ticks)
                now = await self.get(job_id, owner)
                if now != job:
                    job = now
                    yield job

    async def wait(self, job_id: str, owner: str | None = None) -> Job:
        """The job once it has finished. Bound it with `asyncio.timeout`."""
        async with aclosing(self.watch(job_id, owner)) as jobs:
            async for job in jobs:
                if job.state.finished:
                    return job
        raise JobNotFound(f"There is no job {job_id[:100]!r}.")

    async def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Cancel a queued job at once, ask a running one to stop, leave a finished one as it is.

        Raises:
            JobNotFound: as for `get`.
        """
        await self.get(job_id, owner)
        job = await self._store.cancel(job_id)
        if job is None:
            raise JobNotFound(f"There is no job {job_id[:100]!r}.")
        return job

    async def find_result_name(self, owner: str, name: str) -> Job | None:
        """The newest job of ``owner`` whose result the client asked to be called ``name``."""
        job_id = await self._store.find_result_name(owner, name)
        return await self._store.get(job_id) if job_id else None

    async def result_path(self, artifact: Artifact) -> Path:
        """A local file with the result.

        Raises:
            ArtifactGone: it was removed after its retention.
        """
        path = await asyncio.to_thread(self._artifacts.path, artifact.key)
        if path is None:
            raise ArtifactGone("The result was removed: its retention time is over.")
        return path

    async def queue_position(self, job: Job) -> int | None:
        return await self._store.queue_position(job)

    async def counts(self) -> QueueCounts:
        return await self._store.counts()

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._store.workers()


def _check_prompt(request: GenerationRequest) -> None:
    if not request.prompt.strip():
        raise InvalidRequest("The prompt is empty; say what is to be shown.", param="prompt")
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name))
        if length > MAX_PROMPT:
            raise InvalidRequest(
                f"The {name} has {length:,} characters; at most {MAX_PROMPT:,} are taken.", param=name
            )
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise InvalidRequest(f"The seed {request.seed} is not within 0 … 2^63-1.", param="seed")


def _check_inputs(request: GenerationRequest) -> None:
    if request.task in (Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO) and request.image is None:
        raise InvalidRequest(f"{request.task} needs an input picture.", param="image")
    if request.task == Task.VIDEO_TO_VIDEO and request.video is None:
        raise InvalidRequest("video-to-video needs an input video.", param="video")
