"""Handle the requests of OpenAI's images API: submit the job, build the response."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from litestar import Response
from msgspec.structs import replace

from framegate.core.errors import InvalidMedia, InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.wiring import CoreServices
from framegate.media.images.collage import make_collage
from framegate.server.dialects.openai.errors import model_not_found
from framegate.server.dialects.openai.images.events import Call, encode_events, events
from framegate.server.dialects.openai.images.files import Encoding, ImageFiles
from framegate.server.dialects.openai.images.requests import PARAMS, Uploads, generation
from framegate.server.dialects.openai.images.schemas import Image, ImageFields, Images, PromptFields
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs, require_result
from framegate.server.responses.sse import EventStream
from framegate.server.responses.waiting import wait_for_job

_AT_ONCE = 2
"""The number of requests whose uploads are decoded at the same time."""


class ImageHandlers:
    """Handle the requests of OpenAI's images API.

    ``model`` is the default model; a call takes at most ``timeout`` seconds.
    """

    def __init__(
        self, services: CoreServices, files: ImageFiles, *, model: str, timeout: float, max_input: int
    ) -> None:
        self.max_input = max_input
        self._services = services
        self._files = files
        self._model = model
        self._timeout = timeout
        self._decoding = asyncio.Semaphore(_AT_ONCE)

    async def generate(
        self,
        request: HTTPRequest,
        jobs: ClientJobs,
        fields: ImageFields,
        call: Call,
        uploads: Uploads | None = None,
    ) -> Response[Any]:
        """Submit a job, and respond with its images or with a stream of events.

        Raises:
            JobCancelled, GenerationFailed: There are no images.
            TimedOut, ClientDisconnected, ServerStopping, NoWorker: The job was cancelled.
        """
        media = await self._media(uploads) if uploads else {}
        job = await self._submit(jobs, fields, media)
        if isinstance(fields, PromptFields) and fields.stream:
            stream = events(self._services, self._files, job, call=call, quality=fields.quality or "auto")
            return EventStream(encode_events(stream))
        done = await wait_for_job(request, self._services.jobs, job, self._timeout)
        require_result(done)
        return Response(await self._answer(request, fields, done), status_code=200)

    async def _media(self, uploads: Uploads) -> dict[str, MediaSource]:
        """Return the image and the mask, of several images those of their collage."""
        image, mask = uploads.images[0], uploads.mask
        if len(uploads.images) > 1:
            try:
                async with self._decoding:
                    collage = await asyncio.to_thread(make_collage, uploads.images, mask)
            except InvalidMedia as error:
                error.param = error.param or "image"
                raise
            image, mask = collage.image, collage.mask
        sources: dict[str, MediaSource] = {"image": BytesSource(image)}
        return sources if mask is None else {**sources, "mask": BytesSource(mask)}

    async def _submit(self, jobs: ClientJobs, fields: ImageFields, media: Mapping[str, MediaSource]) -> Job:
        name = fields.model or self._model
        try:
            served = self._services.jobs.registry.resolve(name)
        except ModelNotFound as error:
            raise model_not_found(name) from error
        encoding = Encoding(
            fields.output_format or "png",
            100 if fields.output_compression is None else fields.output_compression,
        )
        try:
            return await jobs.submit(replace(generation(served, fields), **media), labels=encoding.labels())
        except InvalidRequest as error:
            error.param = PARAMS.get(error.param or "", error.param)
            raise

    async def _answer(self, request: HTTPRequest, fields: ImageFields, done: Job) -> Images:
        if fields.response_format == "url":
            data = [Image(url=link) for link in self._files.links(request, done)]
        else:
            data = [Image(b64_json=await self._files.base64(done, made)) for made in done.artifacts]
        made = done.artifacts[0]
        return Images(
            created=int(time.time()),
            data=data,
            output_format=fields.output_format or "png",
            size=f"{made.width}x{made.height}",
            seed=done.seed,
        )
