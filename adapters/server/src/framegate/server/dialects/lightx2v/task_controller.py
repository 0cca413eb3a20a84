"""lightx2v's endpoints for tasks: their states, their results, and stopping them."""

from contextlib import suppress

import structlog
from litestar import Controller, delete, get, route
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core.errors import FramegateError, JobNotFound, NotFound
from framegate.core.jobs import Job, JobState
from framegate.core.wiring import CoreServices
from framegate.server.dialects.lightx2v.result_names import (
    ForbiddenPath,
    download_names,
    suffix_of,
    task_id_in,
)
from framegate.server.dialects.lightx2v.schemas import Stopped, TaskState
from framegate.server.dialects.lightx2v.states import job_kind, saved_as, state_of, task_state
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.files import send_artifact, sends_files

ACTIVE = (JobState.QUEUED, JobState.RUNNING)


class OutputFolder(Struct, frozen=True):
    """The absolute path under which clients may know the results' folder."""

    path: str


class TaskController(Controller):
    """Tasks. Clients see only their own."""

    path = "/v1/tasks"

    @get("/{task_id:str}/status", summary="State of a task")
    async def task_status(
        self, client_jobs: NamedDependency[ClientJobs], task_id: FromPath[str]
    ) -> TaskState:
        """Return the state of a task."""
        return task_state(await client_jobs.find_by_client_id(task_id, noun="task"))

    @get("/", summary="All of the caller's tasks, by id")
    async def list_tasks(self, client_jobs: NamedDependency[ClientJobs]) -> dict[str, TaskState]:
        """Return the states of the client's tasks, the oldest first."""
        return {job.client_id: task_state(job) for job in reversed(await client_jobs.list())}

    @delete("/{task_id:str}", status_code=200, summary="Stop a task")
    async def stop_task(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        task_id: FromPath[str],
    ) -> Stopped:
        """Stop a task; a task that is unknown or has ended is not an error."""
        return await _stop(client_jobs, services, task_id)

    @delete("/all/running", status_code=200, summary="Stop all of the caller's tasks")
    async def stop_all(
        self, client_jobs: NamedDependency[ClientJobs], services: NamedDependency[CoreServices]
    ) -> Stopped:
        """Stop all of the client's tasks that have not ended."""
        try:
            while pending := [
                job for job in await client_jobs.list(states=ACTIVE) if not job.cancel_requested
            ]:
                for job in pending:
                    await services.jobs.cancel(job.id, client_jobs.client.name)
        except FramegateError as error:
            return Stopped("error", error.message)
        return Stopped("success", "All tasks stopped successfully.")

    @route(
        "/{task_id:str}/result",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/png"),
        summary="The file that a task made",
    )
    async def task_result(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        task_id: FromPath[str],
    ) -> ASGIApp:
        """Send a task's file."""
        job = await client_jobs.find_by_client_id(task_id, noun="task")
        if not job.artifacts:
            raise NotFound("Task not completed")
        return await send_artifact(request, services.results, job.artifacts[0], name=saved_as(job))


async def _stop(client_jobs: ClientJobs, services: CoreServices, task_id: str) -> Stopped:
    """Stop a task, and return the answer; nothing to stop is not an error."""
    try:
        job = await _find_or_none(client_jobs, task_id)
        if job and job.state not in (JobState.SUCCEEDED, JobState.FAILED):
            job = await services.jobs.cancel(job.id, client_jobs.client.name)
            if state_of(job) == JobState.CANCELLED:
                return Stopped("success", "Task stopped successfully.")
    except FramegateError as error:
        return Stopped("error", error.message)
    return Stopped("do_nothing", "Task not found or already completed.")


async def _find_or_none(client_jobs: ClientJobs, task_id: str) -> Job | None:
    try:
        return await client_jobs.find_by_client_id(task_id)
    except JobNotFound:
        return None


class FileController(Controller):
    """Results, by the paths that tasks' states name."""

    path = "/v1/files"

    @route(
        "/download/{file_path:path}",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/png"),
        summary="A result by the path that its task's state names",
    )
    async def download(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        outputs: NamedDependency[OutputFolder],
        file_path: FromPath[str],
    ) -> ASGIApp:
        """Send the file of the task that the path names."""
        try:
            names = download_names(file_path, outputs.path)
        except ForbiddenPath:
            raise PermissionDeniedException("Access to this file is not allowed") from None
        for name in names:
            if job := await _find_by_name(client_jobs, services, name):
                structlog.contextvars.bind_contextvars(job_id=job.id)
                return await send_artifact(request, services.results, job.artifacts[0], name=saved_as(job))
        raise NotFound("File not found")


async def _find_by_name(client_jobs: ClientJobs, services: CoreServices, name: str) -> Job | None:
    """Return the job whose result has this name: one that the client chose, or the default."""
    job = await services.jobs.find_by_lookup_label(client_jobs.client.name, name)
    if job is not None:
        return job if job.artifacts and client_jobs.owns(job) else None
    task_id = task_id_in(name)
    job = await _find_or_none(client_jobs, task_id) if task_id else None
    if job is None and task_id.startswith("~"):
        # What `states` shows in place of an id that needs quoting.
        with suppress(JobNotFound):
            job = await client_jobs.find_own_job(task_id)
    names = (task_id, task_id + suffix_of(job_kind(job))) if job else ()
    return job if job and job.artifacts and name in names else None
