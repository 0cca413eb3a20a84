"""What the routes of OpenAI's images do, between wire and service."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Response

from framegate.core.errors import InvalidMedia, InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.service import JobService, Submission
from framegate.media.images.collage import make_collage
from framegate.media.images.masks import mask_from_alpha
from framegate.server.auth.keys import client_of
from framegate.server.dialects.openai.images.convert import PARAMS, generation
from framegate.server.dialects.openai.images.events import Call, events, frames, require_pictures
from framegate.server.dialects.openai.images.files import Encoding, PictureFiles
from framegate.server.dialects.openai.images.reading import Uploads
from framegate.server.dialects.openai.images.schemas import Picture, PictureFields, Pictures, PromptFields
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.sse import EventStream
from framegate.server.responses.waiting import wait_for_job

_AT_ONCE = 2
"""Requests whose uploads are decoded at the same time."""


class ImageStudio:
    """``model`` serves who names none; a call takes at most ``timeout`` seconds."""

    def __init__(
        self, service: JobService, files: PictureFiles, *, dialect: str, model: str, timeout: float
    ) -> None:
        self._service = service
        self._files = files
        self._dialect = dialect
        self._model = model
        self._timeout = timeout
        self._decoding = asyncio.Semaphore(_AT_ONCE)

    async def make(
        self, request: HTTPRequest, fields: PictureFields, call: Call, uploads: Uploads | None = None
    ) -> Response[Any]:
        """Submit it and answer with the pictures, or with a stream."""
        media = await self._media(uploads) if uploads else {}
        job = await self._submit(request, fields, media)
        if isinstance(fields, PromptFields) and fields.stream:
            told = events(self._service, self._files, job, call=call, quality=fields.quality or "auto")
            return EventStream(frames(told))
        done = await wait_for_job(request, self._service, job, self._timeout)
        require_pictures(done)
        return Response(await self._answer(request, fields, done), status_code=200)

    async def _media(self, uploads: Uploads) -> dict[str, MediaSource]:
        images, mask = uploads.images, uploads.mask
        try:
            async with self._decoding:
                if len(images) > 1:
                    collage = await asyncio.to_thread(make_collage, images, mask)
                    picture, mask = collage.image, collage.mask
                else:
                    picture = images[0]
                    mask = (await asyncio.to_thread(_mask, mask)) if mask is not None else None
        except InvalidMedia as error:
            error.param = error.param or "image"
            raise
        sources: dict[str, MediaSource] = {"image": BytesSource(picture)}
        return sources if mask is None else {**sources, "mask": BytesSource(mask)}

    async def _submit(
        self, request: HTTPRequest, fields: PictureFields, media: Mapping[str, MediaSource]
    ) -> Job:
        name = fields.model or self._model
        try:
            served = self._service.model(name)
        except ModelNotFound as error:
            raise ModelNotFound(f"The model {name[:100]!r} does not exist.", param="model") from error
        encoding = Encoding(
            fields.output_format or "png",
            100 if fields.output_compression is None else fields.output_compression,
        )
        try:
            job = await self._service.submit(
                Submission(
                    dialect=self._dialect,
                    request=generation(served, fields),
                    client=client_of(request.scope),
                    media=media,
                    request_id=request_id_of(request.scope),
                    labels=encoding.labels(),
                    require_worker=True,
                )
            )
        except InvalidRequest as error:
            error.param = PARAMS.get(error.param or "", error.param)
            raise
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    async def _answer(self, request: HTTPRequest, fields: PictureFields, done: Job) -> Pictures:
        if fields.response_format == "url":
            data = [Picture(url=link) for link in self._files.links(request, done)]
        else:
            data = [Picture(b64_json=await self._files.base64(done, made)) for made in done.artifacts]
        made = done.artifacts[0]
        return Pictures(
            created=int(time.time()),
            data=data,
            output_format=fields.output_format or "png",
            size=f"{made.width}x{made.height}",
            seed=done.seed,
        )


def _mask(data: bytes) -> bytes:
    try:
        return mask_from_alpha(data).data
    except InvalidMedia as error:
        error.param = "mask"
        raise
