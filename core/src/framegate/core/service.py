"""All that a dialect or the command line may call."""

import asyncio
import re
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
from framegate.core.casting import Casting
from framegate.core.characters import Character
from framegate.core.errors import (
    ArtifactGone,
    InvalidRequest,
    JobExists,
    JobNotFound,
    KeyLimitReached,
    NotFound,
    NoWorker,
    PlanRequired,
    QueueFull,
)
from framegate.core.jobs import Job, JobState, new_share_id
from framegate.core.models import fit
from framegate.core.ports import (
    ArtifactStore,
    CharacterStore,
    JobStore,
    Limits,
    MediaFetcher,
    MediaSource,
    QueueCounts,
    WorkerInfo,
)
from framegate.core.reading import SharedReads
from framegate.core.registry import Registry, ServedModel
from framegate.core.sources import CLEANED_UP, JobSources, as_remix, from_picture
from framegate.core.styles import STYLES, Style, find_style
from framegate.core.types import Artifact, GenerationRequest, MediaKind, Task

log = structlog.get_logger(__name__)

MAX_PROMPT = 100_000
SEED_RANGE = 2**31
LINK_SECONDS = 3600.0
RESULT_GONE = "The result was removed: its retention time is over."
_SHARE_ID = re.compile(r"s_[0-9a-f]{32}")


class Client(Struct, frozen=True):
    """Who asks: the name, the plan and the limits of a key (0 is none). ``name`` is empty where no keys are
    configured, and for the operator: both may use everything."""

    name: str = ""
    plan: str = ""
    max_queued: int = 0
    max_running: int = 0
    max_active: int = 0

    def may_use(self, served: ServedModel) -> bool:
        return not self.name or served.plan in ("", self.plan)


class Submission(Struct, frozen=True, kw_only=True):
    """A job to be made.

    ``media`` holds inputs by request field ("image", "last_image", "video"). ``job_id`` is the client's
    own id for it, if the dialect allows one. ``labels`` are kept with the job for the dialect.

    ``remix_of`` is the share id of a video to start from; it decides the task. ``characters`` are the
    usernames that the prompt mentions: the first that is a character of this client's gives the job its
    picture, unless it has an input already. ``require_worker``: refuse it while no worker could run it.
    """

    dialect: str
    request: GenerationRequest
    client: Client = Client()
    media: Mapping[str, MediaSource] = {}
    job_id: str = ""
    request_id: str = ""
    labels: Mapping[str, str] = {}
    remix_of: str = ""
    characters: tuple[str, ...] = ()
    require_worker: bool = False


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
        characters: CharacterStore,
        max_queued: int,
        styles: Mapping[str, Style] = STYLES,
    ) -> None:
        self.registry = registry
        self.max_queued = max_queued
        self.styles = styles
        self._store = store
        self._artifacts = artifacts
        self._media = media
        self._reads = SharedReads(store)
        self._casting = Casting(characters, artifacts, media)

    def model(self, name: str) -> ServedModel:
        """Raises:
        ModelNotFound: there is no such name.
        """
        return self.registry.resolve(name)

    async def submit(self, submission: Submission) -> Job:
        """Check, fit and plan the request, store its inputs, and queue it. When this returns, the job
        survives whatever happens.

        Raises:
            ModelNotFound, PlanRequired, InvalidRequest, NoWorker: nothing was stored.
            NotFound, ArtifactGone: the video to be remixed does not exist, or not any more; likewise.
            JobExists, QueueFull, KeyLimitReached: likewise; the inputs are removed again.
            Unavailable: the store can't be reached; there may be a job, if only its answer was lost.
        """
        request, client = submission.request, submission.client
        served = self.registry.resolve(request.model)
        if not client.may_use(served):
            raise PlanRequired(f"The model {request.model} needs the plan {served.plan}.", plan=served.plan)
        _check_prompt(request)
        if submission.job_id and await self._store.get(submission.job_id):
            raise JobExists(f"There is a job with the id {submission.job_id} already.", param="job_id")
        remixed = await self.find_shared(submission.remix_of) if submission.remix_of else None
        character: Character | None = None
        if remixed:
            request = as_remix(served.spec, request)
        elif not submission.media:
            character = await self._casting.first_of(submission.characters, client.name)
            request = from_picture(request) if character else request
        # What needs no picture is checked before one is fetched.
        find_style(self.styles, fit(served.spec, request).request.style)
        if submission.require_worker:
            await self._require_worker(served)
        sources = JobSources(self._media, self._artifacts)
        try:
            await sources.take(submission.media)
            if remixed:
                await sources.take_remixed(remixed, request.task)
            if character:
                await sources.take_character(character)
            job = self._make_job(submission, served, replace(request, **sources.taken))
        except BaseException:  # whatever happened, a client's leaving too: no job came to use them
            await sources.discard()
            raise
        limits = Limits(
            max_queued=self.max_queued,
            owner_max_queued=client.max_queued,
            owner_max_active=client.max_active,
        )
        try:
            await self._store.submit(job, limits=limits)
        except (JobExists, QueueFull, KeyLimitReached):
            # Only these say for sure that there is no job. One whose answer was lost may exist and need them.
            await sources.discard()
            raise
        log.info(
            "job_submitted", job_id=job.id, dialect=job.dialect, model=job.model, served_by=job.served_by
        )
        return job

    async def _require_worker(self, served: ServedModel) -> None:
        if not any(served.spec.id in worker.models for worker in await self._store.workers()):
            raise NoWorker(f"No worker that runs the model {served.name} is alive; try again shortly.")

    def _make_job(self, submission: Submission, served: ServedModel, request: GenerationRequest) -> Job:
        _check_inputs(request)
        fitted = fit(served.spec, request)
        style = find_style(self.styles, fitted.request.style)
        seed = secrets.randbelow(SEED_RANGE) if request.seed is None else request.seed
        return Job(
            id=submission.job_id or uuid.uuid4().hex,
            model=request.model,
            served_by=served.spec.id,
            queue=served.spec.queue,
            dialect=submission.dialect,
            request=fitted.request,
            shots=planning.plan(served.spec, fitted, seed, style_prompt=style.prompt if style else ""),
            changes=fitted.changes,
            created_at=time.time(),
            owner=submission.client.name,
            max_running=submission.client.max_running,
            request_id=submission.request_id,
            labels=dict(submission.labels),
            share_id=new_share_id() if request.task.output == MediaKind.VIDEO else "",
        )

    async def get(self, job_id: str, owner: str | None = None) -> Job:
        """Raises:
        JobNotFound: there is none, or it is another key's.
        """
        job = await self._reads.get(job_id)
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

    async def find_shared(self, share_id: str, owner: str | None = None) -> Job:
        """The finished job whose video has this share id; anybody's, unless an ``owner`` is given.

        Raises:
            NotFound: there is none, or its video is not finished.
            ArtifactGone: its video was removed after its retention.
        """
        job_id = await self._store.find_shared(share_id) if _SHARE_ID.fullmatch(share_id) else None
        job = await self._reads.get(job_id) if job_id else None
        if job is None or (owner is not None and job.owner != owner):
            raise NotFound(f"There is no video {share_id[:100]!r} to remix.", param="remix_target_id")
        if not job.artifacts:
            raise NotFound(
                f"The video {share_id} can't be remixed: its job is {job.state}.", param="remix_target_id"
            )
        if await asyncio.to_thread(self._artifacts.path, job.artifacts[0].key) is None:
            raise ArtifactGone(CLEANED_UP, param="remix_target_id")
        return job

    async def create_character(
        self,
        source: MediaSource,
        *,
        start: float,
        end: float,
        client: Client,
        display_name: str = "",
        temporary: bool = False,
    ) -> Character:
        """A character from the seconds ``start`` to ``end`` of a video. A ``temporary`` one is removed in
        the end even if nobody does it.

        Raises:
            InvalidMedia: the video can't be had or read, or has no such seconds; nothing is kept.
        """
        return await self._casting.create(
            source, start=start, end=end, owner=client.name, display_name=display_name, temporary=temporary
        )

    async def get_character(self, username: str, owner: str | None = None) -> Character:
        """Raises:
        NotFound: there is none, or it is another key's.
        """
        return await self._casting.get(username, owner)

    async def list_characters(self, owner: str | None = None) -> Sequence[Character]:
        """Newest first."""
        return await self._casting.list(owner)

    async def delete_character(self, username: str, owner: str | None = None) -> None:
        """Remove a character and its pictures. Jobs that use it have their own copies.

        Raises:
            NotFound: as for `get_character`.
        """
        await self._casting.delete(username, owner)

    async def result_path(self, artifact: Artifact) -> Path:
        """A local file with the result.

        Raises:
            ArtifactGone: it was removed after its retention.
        """
        path = await asyncio.to_thread(self._artifacts.path, artifact.key)
        if path is None:
            raise ArtifactGone(RESULT_GONE)
        return path

    async def result_link(self, artifact: Artifact, *, method: str) -> str | None:
        """A URL at which the store itself gives the result out for a while, if it does that.

        Raises:
            ArtifactGone: it was removed after its retention.
        """
        try:
            return await asyncio.to_thread(
                self._artifacts.link, artifact.key, method=method, seconds=LINK_SECONDS
            )
        except NotFound:
            raise ArtifactGone(RESULT_GONE) from None

    async def queue_position(self, job: Job) -> int | None:
        return await self._store.queue_position(job)

    async def counts(self) -> QueueCounts:
        return await self._store.counts()

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._store.workers()


def _check_prompt(request: GenerationRequest) -> None:
    if not request.prompt.strip():
        raise InvalidRequest("The prompt is empty; say what is to be shown.", param="prompt")
    if not all(shot.prompt.strip() for shot in request.storyboard):
        raise InvalidRequest("A shot of the storyboard says nothing of what it shows.", param="prompt")
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
