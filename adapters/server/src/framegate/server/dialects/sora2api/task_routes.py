"""sora2api: tasks, and the files that came out of them."""

import structlog
from litestar import get, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from framegate.core.errors import JobNotFound
from framegate.core.jobs import Job
from framegate.core.service import JobService
from framegate.server.auth.keys import client_of
from framegate.server.dialect import PUBLIC
from framegate.server.dialects.sora2api.schemas import TaskState
from framegate.server.dialects.sora2api.studio import Studio
from framegate.server.dialects.sora2api.tasks import job_id, task_state
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles


def task_routes(
    service: JobService, dialect: str, studio: Studio, files: ResultFiles
) -> list[HTTPRouteHandler]:
    @get("/v1/tasks/{task_id:str}", summary="State of a task, and its result")
    async def task(request: HTTPRequest, task_id: FromPath[str]) -> TaskState:
        job = await own_job(request, task_id)
        return task_state(job, studio.links(request, job))

    @route(
        "/v1/files/{name:str}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("video/mp4", "image/png")},
        summary="A result by the name in its link",
    )
    async def file(request: HTTPRequest, name: FromPath[str]) -> ASGIApp:
        return await files.send(request, name)

    async def own_job(request: HTTPRequest, task_id: str) -> Job:
        missing = JobNotFound(f"There is no task {task_id[:100]!r}.", param="task_id")
        try:
            job = await service.get(job_id(task_id), client_of(request.scope).name)
        except JobNotFound:
            raise missing from None
        if job.dialect != dialect:
            raise missing
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    return [task, file]
