"""Handle the requests of OpenAI's videos API: read the body, submit the job, build the response."""

import time
import uuid
from collections.abc import Mapping
from typing import TypeVar

from litestar import Response
from litestar.datastructures import UploadFile
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, NotFound
from framegate.core.jobs import Job, JobState
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.core.wiring import CoreServices
from framegate.media.file_type import detect_kind
from framegate.server.dialects.openai.extras import metadata_labels
from framegate.server.dialects.openai.fields import find_mentions
from framegate.server.dialects.openai.videos.answers import poll_after_ms, video_object
from framegate.server.dialects.openai.videos.idempotency import idempotency_key
from framegate.server.dialects.openai.videos.requests import (
    REMIXED_FROM,
    generation,
    image_address,
    read_fields,
    rules,
)
from framegate.server.dialects.openai.videos.schemas import (
    CreateFields,
    EditFields,
    ExtendFields,
    GenerationFields,
    RemixFields,
    Video,
)
from framegate.server.requests.bodies import HTTPRequest, upload_bytes
from framegate.server.requests.idempotency import request_fingerprint
from framegate.server.requests.jobs import ClientJobs, SubmissionDetails
from framegate.server.requests.media import media_source

COLLECTION = "videos"
_PREFIX = "video_"

Fields = TypeVar("Fields", bound=GenerationFields)


class GenerationCommand(Struct, frozen=True):
    """A call for a video whose body has been read.

    ``since`` is the time at which its reading began, by the monotonic clock.
    """

    call: str
    fields: GenerationFields
    uploads: Mapping[str, bytes]
    since: float


class VideoHandlers:
    """Handle the requests of OpenAI's videos API.

    ``model`` is the default model; results are kept for ``retention`` seconds.
    """

    def __init__(self, services: CoreServices, *, model: str, max_input: int, retention: float) -> None:
        self._services = services
        self._model = model
        self._max_input = max_input
        self._retention = retention

    async def create(self, request: HTTPRequest, jobs: ClientJobs) -> Response[Video]:
        """Make a video from a prompt, with an image, a video or a character if one is given."""
        fields, command = await self._read(request, "create", CreateFields, "input_reference")
        generation_request = generation(fields, fields.model or self._model)
        data = command.uploads.get("input_reference")
        address = image_address(fields, uploaded=data is not None)
        where = "input_reference"
        details: SubmissionDetails = {}
        if data is not None and detect_kind(data) == MediaKind.VIDEO:
            generation_request = replace(generation_request, video=BytesSource(data))
            details = {"remixes_video": True}
        elif data is not None or address is not None:
            source: MediaSource = BytesSource(data or b"")
            if address is not None:
                text, where = address
                source = media_source(text, where)
            generation_request = replace(generation_request, task=Task.IMAGE_TO_VIDEO, image=source)
        else:
            details = {"characters": await self._characters(jobs, fields)}
        return await self._submit(request, jobs, command, generation_request, details, source_field=where)

    async def remix(self, request: HTTPRequest, jobs: ClientJobs, video_id: str) -> Response[Video]:
        """Make a video from a prompt and a completed video."""
        fields, command = await self._read(request, f"remix {video_id}", RemixFields)
        source = await self._find_completed(jobs, video_id, "video_id")
        details: SubmissionDetails = {
            "remix_of": source.share_id,
            "inherit_source_settings": True,
            "labels": {REMIXED_FROM: source.id},
        }
        generation_request = generation(fields, fields.model or source.model)
        return await self._submit(
            request, jobs, command, generation_request, details, source_field="video_id"
        )

    async def edit(self, request: HTTPRequest, jobs: ClientJobs) -> Response[Video]:
        """Make a video from a prompt and a video, uploaded or named by its id."""
        fields, command = await self._read(request, "edit", EditFields, "video")
        return await self._from_video(request, jobs, command, fields.video.id if fields.video else "")

    async def extend(self, request: HTTPRequest, jobs: ClientJobs) -> Response[Video]:
        """Make a video that begins with another, uploaded or named by its id, and continues it."""
        fields, command = await self._read(request, "extend", ExtendFields, "video")
        return await self._from_video(request, jobs, command, fields.video.id if fields.video else "")

    def shown(self, job: Job) -> Video:
        """Return a job as this API shows it."""
        return video_object(job, self._retention)

    async def answer(self, job: Job) -> Response[Video]:
        """Return the response with a job and the delay before the next poll."""
        position = await self._services.jobs.queue_position(job) if job.state == JobState.QUEUED else None
        pause = poll_after_ms(job, position=position, now=time.time())
        headers = {} if pause is None else {"openai-poll-after-ms": str(pause)}
        return Response(self.shown(job), status_code=200, headers=headers)

    async def upload(self, upload: UploadFile, field: str) -> bytes:
        """Return the content of an upload.

        Raises:
            InvalidMedia: It is too large.
        """
        return await upload_bytes(upload, field, self._max_input)

    async def _read(
        self, request: HTTPRequest, call: str, model: type[Fields], *files: str
    ) -> tuple[Fields, GenerationCommand]:
        since = time.monotonic()
        fields, files_read = await read_fields(request, model, files, rules)
        uploads = {name: await self.upload(upload, name) for name, upload in files_read.items()}
        return fields, GenerationCommand(call, fields, uploads, since)

    async def _from_video(
        self, request: HTTPRequest, jobs: ClientJobs, command: GenerationCommand, video_id: str
    ) -> Response[Video]:
        # The Python SDK makes clients that name a video by its id send an (empty) file as well.
        data = command.uploads.get("video") or None
        if bool(video_id) == bool(data):
            raise InvalidRequest("Give video as a file, or as the id of a completed video.", param="video")
        source = await self._find_completed(jobs, video_id, "video.id") if video_id else None
        details: SubmissionDetails = {"inherit_source_settings": True}
        generation_request = generation(
            command.fields, command.fields.model or (source.model if source else self._model)
        )
        if source:
            details["remix_of"] = source.share_id
        elif data:
            generation_request = replace(generation_request, video=BytesSource(data))
            details["remixes_video"] = True
        source_field = "video.id" if source else "video"
        return await self._submit(
            request, jobs, command, generation_request, details, source_field=source_field
        )

    async def _find_completed(self, jobs: ClientJobs, video_id: str, param: str) -> Job:
        job = await find_video(jobs, video_id, param)
        if job.state != JobState.SUCCEEDED:
            raise InvalidRequest(
                f"The video {job.id} is {self.shown(job).status}; only a completed one can be used.",
                param=param,
            )
        return job

    async def _characters(self, jobs: ClientJobs, fields: CreateFields) -> tuple[str, ...]:
        """Return characters that are named by id, which must exist, and those that the prompt mentions."""
        named = [reference.id for reference in fields.characters or ()]
        if len(named) > 1:
            raise InvalidRequest("This server supports at most one character in a video.", param="characters")
        for name in named:
            try:
                await self._services.characters.get(name, jobs.client.name)
            except NotFound as error:
                error.param = "characters"
                raise
        return (*named, *find_mentions(fields.prompt))

    async def _submit(
        self,
        request: HTTPRequest,
        jobs: ClientJobs,
        command: GenerationCommand,
        generation_request: GenerationRequest[MediaSource],
        details: SubmissionDetails,
        *,
        source_field: str,
    ) -> Response[Video]:
        """Submit the job and respond with it; ``source_field`` is the field that holds its input."""
        served = self._services.jobs.registry.resolve(generation_request.model)
        if not served.makes(MediaKind.VIDEO):
            raise InvalidRequest(f"The model {served.name} does not make videos.", param="model")
        digest = await request_fingerprint(request, command.call, command.fields, command.uploads)
        details["job_id"] = f"{_PREFIX}{uuid.uuid4().hex}"
        details["idempotency"] = idempotency_key(request.headers, digest, since=command.since)
        details["labels"] = {**details.get("labels", {}), **metadata_labels(command.fields.metadata)}
        details["collection"] = COLLECTION
        details["webhook_url"] = command.fields.webhook_url or ""
        try:
            job = await jobs.submit(generation_request, **details)
        except (InvalidRequest, NotFound) as error:
            error.param = _field(error.param, source_field)
            raise
        return await self.answer(job)


async def find_video(jobs: ClientJobs, video_id: str, param: str = "video_id") -> Job:
    """Return a video of the client.

    Raises:
        JobNotFound: No video has this id, or it belongs to another client or dialect.
    """
    return await jobs.find_own_job(video_id, collection=COLLECTION, noun="video", param=param)


def _field(param: str | None, source_field: str) -> str | None:
    """Return the API's name of a field of the core."""
    names = {
        "duration": "seconds",
        "width": "size",
        "height": "size",
        "image": source_field,
        "video": source_field,
        "remix_of": source_field,
    }
    return names.get(param or "", param)
