"""lightx2v: the state of tasks, of the queue and of the service, and stopping tasks."""

from litestar import delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from framegate.core.errors import FramegateError
from framegate.server.auth.keys import client_of
from framegate.server.dialects.lightx2v.schemas import Metadata, QueueState, ServiceState, Stopped, TaskState
from framegate.server.dialects.lightx2v.states import task_state
from framegate.server.dialects.lightx2v.tasks import Tasks
from framegate.server.requests.bodies import HTTPRequest

_UNLIMITED = 2**31 - 1


def state_routes(tasks: Tasks) -> list[HTTPRouteHandler]:
    service = tasks.services.jobs
    queue_size = service.max_queued or _UNLIMITED

    @get("/v1/tasks/{task_id:str}/status", summary="State of a task")
    async def task_status(request: HTTPRequest, task_id: FromPath[str]) -> TaskState:
        return task_state(await tasks.get(client_of(request.scope), task_id))

    @get("/v1/tasks", summary="All of the caller's tasks, by id")
    async def list_tasks(request: HTTPRequest) -> dict[str, TaskState]:
        jobs = await tasks.all(client_of(request.scope))
        return {job.id: task_state(job) for job in reversed(jobs)}

    @delete("/v1/tasks/{task_id:str}", status_code=200, summary="Stop a task")
    async def stop_task(request: HTTPRequest, task_id: FromPath[str]) -> Stopped:
        try:
            stopped = await tasks.stop(client_of(request.scope), task_id)
        except FramegateError as error:
            return Stopped("error", error.message)
        if stopped:
            return Stopped("success", "Task stopped successfully.")
        return Stopped("do_nothing", "Task not found or already completed.")

    @delete("/v1/tasks/all/running", status_code=200, summary="Stop all of the caller's tasks")
    async def stop_all(request: HTTPRequest) -> Stopped:
        try:
            await tasks.stop_all(client_of(request.scope))
        except FramegateError as error:
            return Stopped("error", error.message)
        return Stopped("success", "All tasks stopped successfully.")

    @get("/v1/tasks/queue/status", summary="State of the queue")
    async def queue_status(request: HTTPRequest) -> QueueState:
        counts = await service.counts()
        running = await tasks.running_ids(client_of(request.scope))
        return QueueState(
            is_processing=counts.running > 0,
            current_task=running[-1] if running else None,
            pending_count=counts.queued,
            active_count=counts.active,
            queue_size=queue_size,
            queue_available=max(0, queue_size - counts.active),
        )

    @get("/v1/service/status", summary="State of the service")
    async def service_status(request: HTTPRequest) -> ServiceState:
        counts = await service.counts()
        running = await tasks.running_ids(client_of(request.scope))
        return ServiceState(
            service_status="busy" if counts.running else "idle",
            current_task=running[-1] if running else None,
            active_tasks=running,
            pending_tasks=counts.queued,
            queue_size=queue_size,
            total_tasks=counts.active + counts.succeeded + counts.failed + counts.cancelled,
            completed_tasks=counts.succeeded,
            failed_tasks=counts.failed,
        )

    @get("/v1/service/metadata", summary="What is served")
    async def metadata() -> Metadata:
        served = service.registry.resolve(tasks.models.video)
        workers = [worker for worker in await service.workers() if served.spec.id in worker.models]
        return Metadata(nproc_per_node=len(workers), model_cls=served.spec.id, model_path=served.name)

    return [task_status, list_tasks, stop_task, stop_all, queue_status, service_status, metadata]
