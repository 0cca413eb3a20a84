"""What the routes of OpenAI's videos do, between wire and service."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import TypeVar

import structlog
from litestar import Response
from litestar.datastructures import UploadFile
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, JobNotFound, NotFound
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Base64Source, BytesSource, MediaSource, UrlSource
from framegate.core.service import JobService, Submission
from framegate.core.types import MediaKind, Task
from framegate.media.file_type import detect_kind
from framegate.server.auth.keys import client_of
from framegate.server.dialects.openai.videos.convert import (
    REMIXED_FROM,
    generation,
    mentions,
    picture_address,
    rules,
    video_object,
)
from framegate.server.dialects.openai.videos.idempotency import fingerprint, idempotency_key
from framegate.server.dialects.openai.videos.polling import poll_after_ms
from framegate.server.dialects.openai.videos.reading import read_fields
from framegate.server.dialects.openai.videos.schemas import (
    CreateFields,
    EditFields,
    ExtendFields,
    MakingFields,
    RemixFields,
    Video,
)
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest, upload_bytes

COLLECTION = "videos"
_PREFIX = "video_"

Fields = TypeVar("Fields", bound=MakingFields)


class GenerationCommand(Struct, frozen=True):
    """A call that makes a video, read. ``since`` is when its reading began, by the monotonic clock."""

    call: str
    fields: MakingFields
    uploads: Mapping[str, bytes]
    since: float


class Studio:
    """``model`` serves who names none; ``retention`` is how many seconds results are kept."""

    def __init__(
        self, service: JobService, *, dialect: str, model: str, max_input: int, retention: float
    ) -> None:
        self.service = service
        self._dialect = dialect
        self._model = model
        self._max_input = max_input
        self._retention = retention

    async def create(self, request: HTTPRequest) -> Response[Video]:
        fields, asked = await self._read(request, "create", CreateFields, "input_reference")
        wanted = generation(fields, fields.model or self._model)
        submission = Submission(dialect=self._dialect, request=wanted)
        data = asked.uploads.get("input_reference")
        address = picture_address(fields, uploaded=data is not None)
        where = "input_reference"
        if data is not None and detect_kind(data) == MediaKind.VIDEO:
            submission = replace(submission, remix_video=BytesSource(data))
        elif data is not None or address is not None:
            source: MediaSource = BytesSource(data or b"")
            if address is not None:
                text, where = address
                source = Base64Source(text) if text[:5].lower() == "data:" else UrlSource(text)
            submission = replace(
                submission, request=replace(wanted, task=Task.IMAGE_TO_VIDEO), media={"image": source}
            )
        else:
            submission = replace(submission, characters=await self._characters(request, fields))
        return await self._submit(request, asked, submission, source_field=where)

    async def remix(self, request: HTTPRequest, video_id: str) -> Response[Video]:
        fields, asked = await self._read(request, f"remix {video_id}", RemixFields)
        source = await self._finished(request, video_id, "video_id")
        submission = Submission(
            dialect=self._dialect,
            request=generation(fields, fields.model or source.model),
            remix_of=source.share_id,
            inherit_source_settings=True,
            labels={REMIXED_FROM: source.id},
        )
        return await self._submit(request, asked, submission, source_field="video_id")

    async def edit(self, request: HTTPRequest) -> Response[Video]:
        fields, asked = await self._read(request, "edit", EditFields, "video")
        return await self._from_video(request, asked, fields.video.id if fields.video else "")

    async def extend(self, request: HTTPRequest) -> Response[Video]:
        fields, asked = await self._read(request, "extend", ExtendFields, "video")
        return await self._from_video(request, asked, fields.video.id if fields.video else "")

    async def find(self, request: HTTPRequest, video_id: str) -> Job:
        """Raises:
        JobNotFound: there is none, or it is another client's or another dialect's.
        """
        structlog.contextvars.bind_contextvars(job_id=video_id[:100])
        missing = JobNotFound(f"There is no video {video_id[:100]!r}.", param="video_id")
        try:
            job = await self.service.get(video_id, client_of(request.scope).name)
        except JobNotFound:
            raise missing from None
        if job.dialect != self._dialect or job.collection != COLLECTION:
            raise missing
        return job

    def shown(self, job: Job) -> Video:
        return video_object(job, self._retention)

    async def answer(self, job: Job) -> Response[Video]:
        """The video as it is, with when to ask again."""
        position = await self.service.queue_position(job) if job.state == JobState.QUEUED else None
        pause = poll_after_ms(job, position=position, now=time.time())
        headers = {} if pause is None else {"openai-poll-after-ms": str(pause)}
        return Response(self.shown(job), status_code=200, headers=headers)

    async def _read(
        self, request: HTTPRequest, call: str, model: type[Fields], *files: str
    ) -> tuple[Fields, GenerationCommand]:
        since = time.monotonic()
        fields, files_read = await read_fields(request, model, files, rules)
        uploads = {name: await self.upload(upload, name) for name, upload in files_read.items()}
        return fields, GenerationCommand(call, fields, uploads, since)

    async def upload(self, upload: UploadFile, field: str) -> bytes:
        """Raises:
        InvalidMedia: it is too large.
        """
        return await upload_bytes(upload, field, self._max_input)

    async def _from_video(
        self, request: HTTPRequest, asked: GenerationCommand, video_id: str
    ) -> Response[Video]:
        """A new video from one that is uploaded, or named by its id."""
        # Who names a video by its id through the Python SDK has to give an (empty) file as well.
        data = asked.uploads.get("video") or None
        if bool(video_id) == bool(data):
            raise InvalidRequest("Give video as a file, or as the id of a completed video.", param="video")
        source = await self._finished(request, video_id, "video.id") if video_id else None
        model = asked.fields.model or (source.model if source else self._model)
        submission = Submission(
            dialect=self._dialect,
            request=generation(asked.fields, model),
            remix_of=source.share_id if source else "",
            remix_video=None if data is None else BytesSource(data),
            inherit_source_settings=True,
        )
        return await self._submit(request, asked, submission, source_field="video.id" if source else "video")

    async def _finished(self, request: HTTPRequest, video_id: str, param: str) -> Job:
        """Raises:
        JobNotFound: as for `find`.
        InvalidRequest: it is not completed.
        """
        try:
            job = await self.find(request, video_id)
        except JobNotFound as error:
            error.param = param
            raise
        if job.state != JobState.SUCCEEDED:
            raise InvalidRequest(
                f"The video {job.id} is {self.shown(job).status}; only a completed one can be used.",
                param=param,
            )
        return job

    async def _characters(self, request: HTTPRequest, fields: CreateFields) -> tuple[str, ...]:
        """Those named by id, which there must be; then those that the prompt mentions."""
        named = [reference.id for reference in fields.characters or ()]
        if len(named) > 1:
            raise InvalidRequest("At most one character can be in a video here.", param="characters")
        for name in named:
            try:
                await self.service.get_character(name, client_of(request.scope).name)
            except NotFound as error:
                error.param = "characters"
                raise
        return (*named, *mentions(fields.prompt))

    async def _submit(
        self, request: HTTPRequest, asked: GenerationCommand, submission: Submission, *, source_field: str
    ) -> Response[Video]:
        """``source_field`` is where the request has its input."""
        served = self.service.model(submission.request.model)
        if not served.makes(MediaKind.VIDEO):
            raise InvalidRequest(f"The model {served.name} does not make videos.", param="model")
        digest = await asyncio.to_thread(fingerprint, asked.call, asked.fields, asked.uploads)
        submission = replace(
            submission,
            client=client_of(request.scope),
            job_id=f"{_PREFIX}{uuid.uuid4().hex}",
            request_id=request_id_of(request.scope),
            idempotency=idempotency_key(request.headers, digest, age=time.monotonic() - asked.since),
            collection=COLLECTION,
            webhook_url=asked.fields.webhook_url or "",
        )
        try:
            job = await self.service.submit(submission)
        except (InvalidRequest, NotFound) as error:
            error.param = _field(error.param, source_field)
            raise
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return await self.answer(job)


def _field(param: str | None, source_field: str) -> str | None:
    """The core's name of a field in the words of this API."""
    names = {
        "duration": "seconds",
        "width": "size",
        "height": "size",
        "image": source_field,
        "video": source_field,
        "remix_target_id": source_field,
    }
    return names.get(param or "", param)
