"""Answer a request for a response with the images that its tool makes."""

import time
from typing import Any

from litestar import Response
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.registry import Registry
from framegate.core.types import MediaKind
from framegate.server.dialects.openai.images.events import Call, encode_events, events, keepalive
from framegate.server.dialects.openai.images.handlers import ImageHandlers
from framegate.server.dialects.openai.images.schemas import FORMATS
from framegate.server.dialects.openai.responses.events import completed, response_events
from framegate.server.dialects.openai.responses.requests import ImageTool, image_tool
from framegate.server.dialects.openai.responses.schemas import CreateResponse, ImageCall, ResponseObject
from framegate.server.errors.field_errors import shortened
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.sse import EventStream
from framegate.server.responses.waiting import while_connected


async def respond(
    request: HTTPRequest, jobs: ClientJobs, images: ImageHandlers, body: CreateResponse
) -> Response[Any]:
    """Submit a job, and respond with its images or with a stream of events.

    Raises:
        InvalidRequest: The request is for something else than images; the errors of `ImageHandlers.generate`.
    """
    tool = image_tool(request, body, _image_model(images.services.jobs.registry, body.model))
    try:
        job = await images.submit(jobs, tool.fields, tool.inputs)
    except InvalidRequest as error:
        error.param = _place(error.param, tool)
        raise
    response, call = _response(body, tool, job), _call(tool, job)
    if body.stream:
        call_name: Call = "image_generation" if tool.action == "generate" else "image_edit"
        quality = tool.fields.quality or "auto"
        made = events(images.services, images.files, job, call=call_name, quality=quality)
        stream = response_events(images.services.jobs, job, made, response, call)
        return EventStream(encode_events(stream), keepalive)
    done = await images.wait(request, job)
    output = await while_connected(request.receive, _calls(images, done, call))
    return Response(completed(response, output), status_code=200)


async def _calls(images: ImageHandlers, done: Job, call: ImageCall) -> list[ImageCall]:
    return [
        replace(
            call,
            id=call.id if index == 0 else f"{call.id}_{index + 1}",
            status="completed",
            result=await images.files.base64(done, artifact),
            size=f"{artifact.width}x{artifact.height}",
        )
        for index, artifact in enumerate(done.artifacts)
    ]


def _image_model(registry: Registry, name: str | None) -> str | None:
    """Return a response's model if it makes images itself; a text model's name says nothing here."""
    try:
        return name if name and registry.resolve(name).makes(MediaKind.IMAGE) else None
    except ModelNotFound:
        return None


def _place(param: str | None, tool: ImageTool) -> str | None:
    """Return where a request has what an images call has in ``param``."""
    places = {"prompt": "input", "image": "input", "mask": f"{tool.param}.input_image_mask"}
    return places.get(param or "", param and f"{tool.param}.{param}")


def _response(body: CreateResponse, tool: ImageTool, job: Job) -> ResponseObject:
    return ResponseObject(
        id=f"resp_{job.id}",
        created_at=int(time.time()),
        status="in_progress",
        instructions=body.instructions,
        metadata=body.metadata or {},
        model=body.model or job.model,
        tool_choice=shortened(body.tool_choice or "auto"),
        tools=[tool.shown],
        user=body.user,
        safety_identifier=body.safety_identifier,
    )


def _call(tool: ImageTool, job: Job) -> ImageCall:
    return ImageCall(
        id=f"ig_{job.id}",
        status="in_progress",
        action=tool.action,
        output_format=FORMATS[tool.fields.output_format or "png"],
        quality=tool.fields.quality or "auto",
        revised_prompt=tool.fields.prompt,
    )
