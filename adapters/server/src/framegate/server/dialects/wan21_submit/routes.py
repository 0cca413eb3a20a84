"""wan21-submit: submit, ask for the status, cancel, fetch the file."""

from collections.abc import Mapping
from typing import Any

import structlog
from litestar import post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core.errors import InvalidRequest, JobNotFound, ModelNotFound
from framegate.core.jobs import Job, JobState
from framegate.core.service import JobService
from framegate.core.submission import Submission
from framegate.server.auth.keys import client_of
from framegate.server.dialect import AT_ROOT, PUBLIC, Dialect, DialectContext
from framegate.server.dialects.wan21_submit.convert import answer, generation, status_of
from framegate.server.dialects.wan21_submit.errors import error_response
from framegate.server.dialects.wan21_submit.schemas import (
    Cancelled,
    ErrorBody,
    RequestId,
    Status,
    StatusAnswer,
    SubmitRequest,
)
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles
from framegate.server.responses.waiting import while_connected

_EXAMPLES: Mapping[str, Any] = {
    "Image to video": {
        "prompt": "The cat turns its head and looks at the sea",
        "image_url": "https://example.com/cat.png",
        "image_size": "auto",
        "num_frames": 81,
        "seed": 123456,
    }
}
_ID: Mapping[str, Any] = {"A request": {"requestId": "00000000000000000000000000000000"}}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.wan21-submit]``. ``model`` is what serves a request that names none."""

    model: str = "Wan2.1-I2V-14B-480P"


def create(context: DialectContext) -> Dialect:
    options = context.parse_options(Options)
    files = ResultFiles(context, at_root=True)
    service = context.services.jobs
    return Dialect(
        handlers=[
            _submit_route(service, context.name, options.model),
            *_request_routes(service, context.name, files),
            _file_route(files),
        ],
        error_response=error_response,
        path_prefixes=("/video",) if context.prefix else ("/video", "/videos"),
        error_body=ErrorBody,
    )


def _submit_route(service: JobService, dialect: str, model: str) -> HTTPRouteHandler:
    @post(
        "/video/submit",
        status_code=202,
        summary="Submit a video",
        opt=documents(SubmitRequest, _EXAMPLES),
    )
    async def submit_request(request: HTTPRequest) -> RequestId:
        body = await read_json(request, SubmitRequest)
        try:
            served = service.registry.resolve(body.model or model)
        except ModelNotFound as error:
            raise InvalidRequest(f"model: {error.message}", param="model") from None
        submission = Submission(
            dialect=dialect,
            request=generation(served, body),
            client=client_of(request.scope),
            request_id=request_id_of(request.scope),
        )
        # The picture's fetching takes a while; nobody could ask for the job of a client that has gone.
        job = await while_connected(request.receive, service.submit(submission))
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return RequestId(job.id)

    return submit_request


def _request_routes(service: JobService, dialect: str, files: ResultFiles) -> list[HTTPRouteHandler]:
    @post(
        "/video/status",
        status_code=200,
        summary="Status of a request, and its result",
        opt=documents(RequestId, _ID),
    )
    async def request_status(request: HTTPRequest) -> StatusAnswer:
        request_id = (await read_json(request, RequestId)).request_id
        job = await own_job(request, request_id)
        position = await service.queue_position(job) if job.state == JobState.QUEUED else None
        if job.state == JobState.QUEUED and position is None:
            job = await own_job(request, request_id)  # it has just left the queue
        links = [files.absolute(request, f"/videos/{name}") for name in files.names(job)]
        return answer(job, queue_position=position, links=links)

    @post(
        "/video/cancel",
        status_code=200,
        summary="Cancel a request that waits or runs",
        opt=documents(RequestId, _ID),
    )
    async def cancel_request(request: HTTPRequest) -> Cancelled:
        job = await own_job(request, (await read_json(request, RequestId)).request_id)
        job = await service.cancel(job.id)
        status = status_of(job)
        if status != Status.CANCELLED:
            raise InvalidRequest(
                f"The request has ended before ({status}); there is nothing to cancel.", param="requestId"
            )
        return Cancelled()

    async def own_job(request: HTTPRequest, request_id: str) -> Job:
        missing = JobNotFound(f"There is no request {request_id[:100]!r}.", param="requestId")
        try:
            job = await service.get(request_id, client_of(request.scope).name)
        except JobNotFound:
            raise missing from None
        if job.dialect != dialect:
            raise missing
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    return [request_status, cancel_request]


def _file_route(files: ResultFiles) -> HTTPRouteHandler:
    @route(
        "/videos/{name:str}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **AT_ROOT, **sends_files("video/mp4")},
        summary="A result by the name in its link",
    )
    async def video(request: HTTPRequest, name: FromPath[str]) -> ASGIApp:
        return await files.send(request, name)

    return video
