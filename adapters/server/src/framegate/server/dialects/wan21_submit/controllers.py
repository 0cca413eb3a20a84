"""wan21-submit's endpoints: submit, poll, cancel, fetch the file."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core.errors import InvalidRequest, ModelNotFound
from framegate.core.jobs import Job, JobState
from framegate.core.wiring import CoreServices
from framegate.server.dialect import PUBLIC, READS
from framegate.server.dialects.wan21_submit.convert import answer, generation, status_of
from framegate.server.dialects.wan21_submit.schemas import (
    Cancelled,
    RequestId,
    Status,
    StatusAnswer,
    SubmitRequest,
)
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles

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
    """The table ``[dialects.wan21-submit]``; ``model`` is the default model."""

    model: str = "Wan2.1-I2V-14B-480P"


class RequestController(Controller):
    """Requests for a video."""

    path = "/video"

    @post("/submit", status_code=202, summary="Submit a video", opt=documents(SubmitRequest, _EXAMPLES))
    async def submit_request(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        options: NamedDependency[Options],
    ) -> RequestId:
        """Submit a job and return its id."""
        body = await read_json(request, SubmitRequest, lax=True)
        try:
            served = services.jobs.registry.resolve(body.model or options.model)
        except ModelNotFound as error:
            raise InvalidRequest(f"model: {error.message}", param="model") from None
        job = await client_jobs.submit(generation(served, body))
        return RequestId(job.id)

    @post(
        "/status",
        status_code=200,
        summary="Status of a request, and its result",
        opt={**documents(RequestId, _ID), **READS},
    )
    async def request_status(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        files: NamedDependency[ResultFiles],
    ) -> StatusAnswer:
        """Return the state of a job, its place in the queue, and links to its files."""
        request_id = (await read_json(request, RequestId, lax=True)).request_id
        job = await _find(client_jobs, request_id)
        position = await services.jobs.queue_position(job) if job.state == JobState.QUEUED else None
        if job.state == JobState.QUEUED and position is None:
            job = await _find(client_jobs, request_id)  # it has just left the queue
        return answer(job, queue_position=position, links=await files.links(request, job))

    @post(
        "/cancel",
        status_code=200,
        summary="Cancel a request that waits or runs",
        opt=documents(RequestId, _ID),
    )
    async def cancel_request(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
    ) -> Cancelled:
        """Cancel a job that has not ended."""
        job = await _find(client_jobs, (await read_json(request, RequestId, lax=True)).request_id)
        status = status_of(await services.jobs.cancel(job.id))
        if status != Status.CANCELLED:
            raise InvalidRequest(
                f"The request ended before it could be cancelled; its status is {status}.", param="requestId"
            )
        return Cancelled()


async def _find(client_jobs: ClientJobs, request_id: str) -> Job:
    return await client_jobs.find_own_job(request_id, noun="request", param="requestId")


class FileController(Controller):
    """Result files."""

    @route(
        "/videos/{name:str}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("video/mp4")},
        summary="A result by the name in its link",
    )
    async def video(
        self, request: HTTPRequest, files: NamedDependency[ResultFiles], name: FromPath[str]
    ) -> ASGIApp:
        """Send a result file."""
        return await files.send(request, name)
