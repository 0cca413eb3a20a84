"""Handle the requests of OpenAI's images API: submit the job, build the response."""

import time
from typing import Any

from litestar import Response
from msgspec import UNSET
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.wiring import CoreServices
from framegate.server.dialects.openai.errors import model_not_found
from framegate.server.dialects.openai.extras import metadata_labels
from framegate.server.dialects.openai.images.events import Call, encode_events, events, keepalive
from framegate.server.dialects.openai.images.files import Encoding, ImageFiles
from framegate.server.dialects.openai.images.requests import PARAMS, Inputs, generation
from framegate.server.dialects.openai.images.schemas import (
    FORMATS,
    EditReferences,
    Image,
    ImageFields,
    Images,
    PromptFields,
)
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs, require_result
from framegate.server.responses.sse import EventStream
from framegate.server.responses.waiting import wait_for_job, while_connected

_LINKED = frozenset({"dall-e-2", "dall-e-3"})
"""The models whose images OpenAI sends as links unless the request says otherwise."""


class ImageHandlers:
    """Handle the requests of OpenAI's images API.

    ``model`` is the default model; a call takes at most ``timeout`` seconds.
    """

    def __init__(
        self, services: CoreServices, files: ImageFiles, *, model: str, timeout: float, max_input: int
    ) -> None:
        self.max_input = max_input
        self.files = files
        self.services = services
        self._model = model
        self._timeout = timeout

    async def generate(
        self,
        request: HTTPRequest,
        jobs: ClientJobs,
        fields: ImageFields,
        call: Call,
        inputs: Inputs | None = None,
    ) -> Response[Any]:
        """Submit a job, and respond with its images or with a stream of events.

        Raises:
            JobCancelled, GenerationFailed: There are no images.
            TimedOut, ClientDisconnected, ServerStopping, NoWorker: The job was cancelled.
        """
        job = await self.submit(jobs, fields, inputs)
        if isinstance(fields, PromptFields) and fields.stream:
            stream = events(self.services, self.files, job, call=call, quality=fields.quality or "auto")
            return EventStream(encode_events(stream), keepalive)
        done = await self.wait(request, job)
        images = await while_connected(request.receive, self._answer(request, fields, done))
        return Response(images, status_code=200)

    async def submit(self, jobs: ClientJobs, fields: ImageFields, inputs: Inputs | None) -> Job:
        """Submit a job for images.

        Raises:
            ModelNotFound: There is no such model.
            InvalidRequest: The model makes no images, or not these; the errors of `JobService.submit`.
        """
        name = fields.model or self._model
        try:
            served = self.services.jobs.registry.resolve(name)
        except ModelNotFound as error:
            raise model_not_found(name) from error
        encoding = Encoding(
            FORMATS[fields.output_format or "png"],
            100 if fields.output_compression is None else fields.output_compression,
        )
        media = inputs.media if inputs else {}
        try:
            return await jobs.submit(
                replace(generation(served, fields), **media),
                labels={**encoding.labels(), **metadata_labels(fields.metadata)},
            )
        except InvalidRequest as error:
            error.param = PARAMS.get(error.param or "", error.param)
            if error.param == "image" and isinstance(fields, EditReferences):
                error.param = "images"
            raise

    async def wait(self, request: HTTPRequest, job: Job) -> Job:
        """Return the job once it has its images; the errors are those of `generate`."""
        done = await wait_for_job(request, self.services.jobs, job, self._timeout)
        require_result(done)
        return done

    async def _answer(self, request: HTTPRequest, fields: ImageFields, done: Job) -> Images:
        default = "url" if fields.model in _LINKED else "b64_json"
        if (fields.response_format or default) == "url":
            data = [Image(url=link) for link in await self.files.links(request, done)]
        else:
            data = [Image(b64_json=await self.files.base64(done, made)) for made in done.artifacts]
        made = done.artifacts[0]
        return Images(
            created=int(time.time()),
            data=data,
            output_format=FORMATS[fields.output_format or "png"],
            size=f"{made.width}x{made.height}",
            seed=done.seed,
            metadata=UNSET if fields.metadata is None else fields.metadata,
        )
