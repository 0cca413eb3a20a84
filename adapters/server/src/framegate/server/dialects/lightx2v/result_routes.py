"""lightx2v: the files that came out."""

from litestar import route
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from framegate.core.errors import NotFound
from framegate.server.auth.keys import client_of
from framegate.server.dialects.lightx2v.convert import Forbidden
from framegate.server.dialects.lightx2v.states import saved_as
from framegate.server.dialects.lightx2v.tasks import Tasks
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import send_artifact, sends_files


def result_routes(tasks: Tasks, *, output_root: str) -> list[HTTPRouteHandler]:
    @route(
        "/v1/tasks/{task_id:str}/result",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/png"),
        summary="The file that a task made",
    )
    async def task_result(request: HTTPRequest, task_id: FromPath[str]) -> ASGIApp:
        job = await tasks.get(client_of(request.scope), task_id)
        if not job.artifacts:
            raise NotFound("Task not completed")
        return await send_artifact(request, tasks.services.results, job.artifacts[0], name=saved_as(job))

    @route(
        "/v1/files/download/{file_path:path}",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/png"),
        summary="A result by the path that its task's state names",
    )
    async def download(request: HTTPRequest, file_path: FromPath[str]) -> ASGIApp:
        try:
            job = await tasks.find_download(client_of(request.scope), file_path, output_root)
        except Forbidden:
            raise PermissionDeniedException("Access to this file is not allowed") from None
        if job is None:
            raise NotFound("File not found")
        return await send_artifact(request, tasks.services.results, job.artifacts[0], name=saved_as(job))

    return [task_result, download]
