"""All that a dialect or the command line may call."""

import asyncio
import re
import secrets
import shutil
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import structlog
from msgspec import Struct
from msgspec.structs import replace

from framegate.core import planning
from framegate.core.character_service import CharacterService
from framegate.core.characters import Character
from framegate.core.coalesced_reads import CoalescedReads
from framegate.core.errors import (
    ArtifactGone,
    IdempotencyMismatch,
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
    IdempotencyKey,
    JobStore,
    Limits,
    MediaIngest,
    MediaSource,
    Page,
    QueueCounts,
    WorkerInfo,
)
from framegate.core.registry import Registry, ServedModel
from framegate.core.sources import CLEANED_UP, JobSources, as_remix, from_picture, inherit_from, video_of
from framegate.core.styles import STYLES, Style, find_style
from framegate.core.types import Artifact, GenerationRequest, MediaKind, Task, Variant
from framegate.core.webhooks import NoWebhooks, WebhookPolicy

log = structlog.get_logger(__name__)

MAX_PROMPT = 100_000
SEED_RANGE = 2**31
LINK_SECONDS = 3600.0
RESULT_GONE = "The result was removed: its retention time is over."
VARIANTS_AT_ONCE = 2
"""Each of them decodes a video."""
_SHARE_ID = re.compile(r"s_[0-9a-f]{32}")


class Client(Struct, frozen=True):
    """Who asks: the name, the plan, the limits (0 is none) and the priority of a key. ``name`` is empty where
    no keys are configured, and for the operator: both may use everything."""

    name: str = ""
    plan: str = ""
    max_queued: int = 0
    max_running: int = 0
    max_active: int = 0
    priority: int = 0

    def may_use(self, served: ServedModel) -> bool:
        return not self.name or served.plan in ("", self.plan)


class Submission(Struct, frozen=True, kw_only=True):
    """A job to be made.

    ``media`` holds inputs by request field ("image", "last_image", "video"). ``job_id`` is the client's
    own id for it, if the dialect allows one. ``labels`` are kept with the job for the dialect.

    ``remix_of`` is the share id of a video to start from, ``remix_video`` one that the client sends; either
    decides the task. With ``inherit_source_settings`` what the request leaves open (size, rate, length) is
    taken from that video. ``characters`` are the usernames that the prompt mentions: the first that is a
    character of this client's gives the job its image, unless it has an input already. ``require_worker``:
    refuse it while no worker could run it.

    ``idempotency``: how a repeat of it is known, which is given the first one's job. ``collection`` is the
    list in which `JobService.page` finds it. ``webhook_url`` is notified of a video's end, beside the
    server's own.
    ``priority`` is added to the client's; a higher one is served first.
    """

    dialect: str
    request: GenerationRequest
    client: Client = Client()
    media: Mapping[str, MediaSource] = {}
    job_id: str = ""
    request_id: str = ""
    labels: Mapping[str, str] = {}
    remix_of: str = ""
    remix_video: MediaSource | None = None
    inherit_source_settings: bool = False
    characters: tuple[str, ...] = ()
    require_worker: bool = False
    idempotency: IdempotencyKey | None = None
    collection: str = ""
    webhook_url: str = ""
    priority: int = 0


class JobService:
    """Jobs, from the outside. ``owner`` None means the operator, who sees everybody's jobs; every other
    owner finds only their own.

    ``max_queued`` is how many jobs may wait (0: any number); ``webhooks`` says who is told of a video's end.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        store: JobStore,
        artifacts: ArtifactStore,
        media: MediaIngest,
        characters: CharacterStore,
        max_queued: int,
        styles: Mapping[str, Style] = STYLES,
        webhooks: WebhookPolicy | None = None,
    ) -> None:
        self.registry = registry
        self.max_queued = max_queued
        self.styles = styles
        self._store = store
        self._artifacts = artifacts
        self._media = media
        self._webhooks = webhooks or NoWebhooks()
        self._reads = CoalescedReads(store)
        self._casting = CharacterService(characters, artifacts, media)
        self._variants = asyncio.Semaphore(VARIANTS_AT_ONCE)

    def model(self, name: str) -> ServedModel:
        """Raises:
        ModelNotFound: there is no such name.
        """
        return self.registry.resolve(name)

    async def submit(self, submission: Submission) -> Job:
        """Check, fit and plan the request, store its inputs, and queue it. When this returns, the job
        survives whatever happens. With ``idempotency`` it may be an earlier one, in whatever state.

        Raises:
            ModelNotFound, PlanRequired, InvalidRequest, NoWorker: nothing was stored.
            NotFound, ArtifactGone: the video to be remixed does not exist, or not any more; likewise.
            JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached: likewise; inputs are removed again.
            Unavailable: the store can't be reached; there may be a job, if only its answer was lost.
        """
        request, client = submission.request, submission.client
        served = self.registry.resolve(request.model)
        if not client.may_use(served):
            raise PlanRequired(f"The model {request.model} needs the plan {served.plan}.", plan=served.plan)
        _check_prompt(request)
        webhooks = self._webhooks.addresses(submission.webhook_url)
        limits = Limits(
            max_queued=self.max_queued,
            owner_max_queued=client.max_queued,
            owner_max_active=client.max_active,
        )
        # A full queue and a repeat are answered at once; only `submit` below says it for sure.
        earlier = await self._store.check_admission(
            submission.job_id, client.name, limits=limits, idempotency=submission.idempotency
        )
        if earlier:
            return earlier
        remixed = await self.find_shared(submission.remix_of) if submission.remix_of else None
        character: Character | None = None
        if remixed or submission.remix_video:
            if remixed and submission.inherit_source_settings:
                request = inherit_from(video_of(remixed), request)
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
                await sources.take_remixed(remixed, request)
            if submission.remix_video:
                request = await self._take_source(sources, submission, submission.remix_video, request)
            if character:
                await sources.take_character(character)
            job = self._make_job(submission, served, replace(request, **sources.taken), webhooks)
        except BaseException:  # whatever happened, a client's leaving too: no job came to use them
            await sources.discard()
            raise
        try:
            made = await self._store.submit(job, limits=limits, idempotency=submission.idempotency)
        except (JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached):
            # Only these say for sure that there is no job. One whose answer was lost may exist and need them.
            await sources.discard()
            raise
        if made.id != job.id:
            await sources.discard()
            return made
        log.info(
            "job_submitted", job_id=job.id, dialect=job.dialect, model=job.model, served_by=job.served_by
        )
        return job

    async def _require_worker(self, served: ServedModel) -> None:
        if not any(served.spec.id in worker.models for worker in await self._store.workers()):
            raise NoWorker(f"No worker that runs the model {served.name} is alive; try again shortly.")

    async def _take_source(
        self, sources: JobSources, submission: Submission, source: MediaSource, request: GenerationRequest
    ) -> GenerationRequest:
        """The request in the light of the video that it starts from."""
        video = await sources.take_video(source)
        if submission.inherit_source_settings:
            request = inherit_from(video, request)
        request = as_remix(self.registry.resolve(request.model).spec, request)
        if request.task == Task.IMAGE_TO_VIDEO and not request.extends_video:
            await sources.first_frame_instead()
        return request

    def _make_job(
        self,
        submission: Submission,
        served: ServedModel,
        request: GenerationRequest,
        webhooks: tuple[str, ...],
    ) -> Job:
        _check_inputs(request)
        fitted = fit(served.spec, request)
        style = find_style(self.styles, fitted.request.style)
        seed = secrets.randbelow(SEED_RANGE) if request.seed is None else request.seed
        is_video = request.task.output == MediaKind.VIDEO
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
            priority=submission.client.priority + submission.priority,
            running_limits=_running_limits(submission.client, served),
            request_id=submission.request_id,
            labels=dict(submission.labels),
            share_id=new_share_id() if is_video else "",
            collection=submission.collection,
            webhooks=webhooks if is_video else (),
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

    async def page(
        self,
        collection: str,
        *,
        owner: str,
        after: str = "",
        limit: int = 20,
        newest_first: bool = True,
    ) -> Page:
        """At most ``limit`` jobs of the owner's ``collection``, from the one that follows the job ``after``.

        Raises:
            NotFound: there is no job ``after`` in it, nor was there within the last day.
        """
        page = await self._store.page(
            collection, owner=owner, after=after, limit=limit, newest_first=newest_first
        )
        if page is None:
            raise NotFound(f"There is no job {after[:100]!r} to go on after.", param="after")
        return page

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

    async def delete(self, job_id: str, owner: str | None = None) -> None:
        """Remove a job with its files, cancelling it first if it has not ended. Nobody finds it any more.

        Raises:
            JobNotFound: as for `get`.
        """
        await self.get(job_id, owner)
        job = await self._store.delete(job_id)
        if job is None:
            raise JobNotFound(f"There is no job {job_id[:100]!r}.")
        await asyncio.to_thread(self._remove_files, job)
        await self._store.forget(job)
        log.info("job_deleted", job_id=job_id, state=job.state)

    def _remove_files(self, job: Job) -> None:
        for key in job.files:
            self._artifacts.delete(key)

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

    async def partial_image_path(self, job: Job, number: int) -> Path | None:
        """A local file with a look at the unfinished work, counted from 0; None if there is none (yet)."""
        if number >= len(job.partial_image_keys):
            return None
        return await asyncio.to_thread(self._artifacts.path, job.partial_image_keys[number])

    async def variant_path(
        self, video: Artifact, variant: Variant, make: Callable[[Path, Path], None]
    ) -> Path:
        """A local file with a picture of a result video. ``make(video, picture)`` writes it, in a thread,
        where there is none yet.

        Raises:
            ArtifactGone: as for `result_path`.
        """
        source = await self.result_path(video)
        key = video.variant_key(variant)
        if path := await asyncio.to_thread(self._artifacts.path, key):
            return path
        async with self._variants:
            # Who waited here may have waited for this very one.
            if path := await asyncio.to_thread(self._artifacts.path, key):
                return path
            return await asyncio.to_thread(self._make_variant, video, key, source, make)

    def _make_variant(
        self, video: Artifact, key: str, source: Path, make: Callable[[Path, Path], None]
    ) -> Path:
        folder = self._artifacts.workdir(f"variant-{uuid.uuid4().hex}")
        try:
            make(source, folder / "picture")
            self._artifacts.put(folder / "picture", key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        path = self._artifacts.path(key)
        if path is None or self._artifacts.path(video.key) is None:  # its time was over meanwhile
            self._artifacts.delete(key)
            raise ArtifactGone(RESULT_GONE)
        return path

    async def queue_position(self, job: Job) -> int | None:
        return await self._store.queue_position(job)

    async def counts(self) -> QueueCounts:
        return await self._store.counts()

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._store.workers()


def _running_limits(client: Client, served: ServedModel) -> dict[str, int]:
    own = {f"key:{client.name}": client.max_running} if client.max_running else {}
    return {**own, **served.running_limits}


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
    if (request.task == Task.VIDEO_TO_VIDEO or request.extends_video) and request.video is None:
        raise InvalidRequest(f"{request.task} needs an input video.", param="video")
    from_picture = request.task in (Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO)
    if from_picture and not request.extends_video and request.image is None:
        raise InvalidRequest(f"{request.task} needs an input picture.", param="image")
    picture, mask = request.image, request.mask
    if mask and picture and (mask.width, mask.height) != (picture.width, picture.height):
        raise InvalidRequest(
            f"The mask has {mask.width}×{mask.height} pixels, the picture {picture.width}×{picture.height}; "
            "they should be of one size.",
            param="mask",
        )
