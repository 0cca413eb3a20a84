"""What lightx2v's routes do, between wire and service."""

from collections.abc import Mapping

import structlog
from litestar.datastructures import UploadFile
from litestar.types import Scope
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from framegate.core.errors import JobNotFound
from framegate.core.jobs import Job, JobState
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.submission import Client, Submission
from framegate.core.types import GenerationRequest, Task
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import client_of
from framegate.server.dialects.lightx2v.convert import (
    RESULT_NAME,
    VOCABULARY,
    Setting,
    Vocabulary,
    download_names,
    image_request,
    named_job,
    result_name,
    suffix_of,
    video_request,
    vocabulary_of,
)
from framegate.server.dialects.lightx2v.media import InputFolder
from framegate.server.dialects.lightx2v.schemas import ImageFields, ImageForm, VideoFields, VideoForm
from framegate.server.dialects.lightx2v.states import job_kind, state_of
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest, upload_bytes
from framegate.server.requests.paths import has_trailing_slash

ACTIVE = (JobState.QUEUED, JobState.RUNNING)
MAX_LISTED = 1000


class Models(Struct, frozen=True):
    video: str
    image: str


class Tasks:
    """The tasks of this dialect. Every client sees their own only."""

    def __init__(
        self,
        services: CoreServices,
        *,
        dialect: str,
        models: Models,
        vocabulary: Setting,
        inputs: InputFolder,
        max_input: int,
    ) -> None:
        self.services = services
        self.models = models
        self._dialect = dialect
        self._vocabulary: Setting = vocabulary
        self._inputs = inputs
        self._max_input = max_input

    async def submit_video(
        self,
        request: HTTPRequest,
        fields: VideoFields | VideoForm,
        media: Mapping[str, MediaSource],
        *,
        server_path: bool,
    ) -> Job:
        task = Task.TEXT_TO_VIDEO
        if "image" in media:
            task = Task.IMAGE_TO_VIDEO
        elif "video" in media:
            task = Task.VIDEO_TO_VIDEO
        vocabulary = self._speaks(request.scope, server_path=server_path)
        wanted = replace(video_request(self.models.video, fields, vocabulary, task), **media)
        return await self._submit(request, fields, wanted, vocabulary)

    async def submit_image(
        self, request: HTTPRequest, fields: ImageFields | ImageForm, media: Mapping[str, MediaSource]
    ) -> Job:
        task = Task.IMAGE_TO_IMAGE if "image" in media else Task.TEXT_TO_IMAGE
        wanted = replace(image_request(self.models.image, fields, task), **media)
        # The document knows no images: whoever makes one speaks the real server's words.
        return await self._submit(request, fields, wanted, self._speaks(request.scope, server_path=True))

    async def _submit(
        self,
        request: HTTPRequest,
        fields: VideoFields | VideoForm | ImageFields | ImageForm,
        wanted: GenerationRequest[MediaSource],
        vocabulary: Vocabulary,
    ) -> Job:
        labels = {VOCABULARY: vocabulary.value}
        if fields.save_result_path:
            labels[RESULT_NAME] = result_name(fields.save_result_path, wanted.task.output)
        job = await self.services.jobs.submit(
            Submission(
                dialect=self._dialect,
                request=wanted,
                client=client_of(request.scope),
                job_id="" if isinstance(fields.task_id, UnsetType) else fields.task_id,
                request_id=request_id_of(request.scope),
                labels=labels,
            )
        )
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    def _speaks(self, scope: Scope, *, server_path: bool) -> Vocabulary:
        return vocabulary_of(self._vocabulary, server_path=server_path or has_trailing_slash(scope))

    async def json_media(self, fields: VideoFields | ImageFields) -> dict[str, MediaSource]:
        """Raises:
        InvalidMedia: a path names no readable file.
        """
        texts = {"image": fields.image_path, "last_image": fields.last_frame_path}
        if isinstance(fields, VideoFields):
            texts["video"] = fields.video_path
        return {name: await self._inputs.source(text, name) for name, text in texts.items() if text}

    async def form_media(self, files: Mapping[str, UploadFile]) -> dict[str, MediaSource]:
        """Raises:
        InvalidMedia: a file is too large.
        """
        names = {"image": "image_file", "last_image": "last_frame_file"}
        return {
            name: BytesSource(await upload_bytes(files[file], name, self._max_input))
            for name, file in names.items()
            if file in files
        }

    async def get(self, client: Client, task_id: str) -> Job:
        """Raises:
        JobNotFound: there is none, or it is another client's or another dialect's.
        """
        structlog.contextvars.bind_contextvars(job_id=task_id)
        job = await self.services.jobs.get(task_id, client.name)
        if job.dialect != self._dialect:
            raise JobNotFound(f"There is no task {task_id[:100]!r}.")
        return job

    async def all(self, client: Client) -> list[Job]:
        """Newest first."""
        jobs = await self.services.jobs.list(owner=client.name, limit=MAX_LISTED)
        return [job for job in jobs if job.dialect == self._dialect]

    async def active(self, client: Client) -> list[Job]:
        jobs = await self.services.jobs.list(owner=client.name, states=ACTIVE, limit=MAX_LISTED)
        return [job for job in jobs if job.dialect == self._dialect]

    async def running_ids(self, client: Client) -> list[str]:
        return [job.id for job in await self.active(client) if job.state == JobState.RUNNING]

    async def stop(self, client: Client, task_id: str) -> bool:
        """Was there something to stop?"""
        try:
            job = await self.get(client, task_id)
        except JobNotFound:
            return False
        if job.state in (JobState.SUCCEEDED, JobState.FAILED):
            return False
        job = await self.services.jobs.cancel(job.id, client.name)
        return state_of(job) == JobState.CANCELLED

    async def stop_all(self, client: Client) -> None:
        while jobs := [job for job in await self.active(client) if not job.cancel_requested]:
            for job in jobs:
                await self.services.jobs.cancel(job.id, client.name)

    async def find_download(self, client: Client, path: str, output_root: str) -> Job | None:
        """The finished job that a download path names.

        Raises:
            Forbidden: the path leads out of the output folder.
        """
        for name in download_names(path, output_root):
            job = await self.services.jobs.find_by_lookup_label(client.name, name)
            if job is None and (task_id := named_job(name)):
                job = await self._or_none(client, task_id)
                if job is not None and not name.endswith(suffix_of(job_kind(job))):
                    job = None
            if job is not None and job.dialect == self._dialect and job.artifacts:
                return job
        return None

    async def _or_none(self, client: Client, task_id: str) -> Job | None:
        try:
            return await self.get(client, task_id)
        except JobNotFound:
            return None
