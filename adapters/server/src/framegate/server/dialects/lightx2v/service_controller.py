"""lightx2v's endpoints for the queue and the service."""

import asyncio

from litestar import Controller, get
from litestar.di import NamedDependency

from framegate.core.jobs import JobState
from framegate.core.wiring import CoreServices
from framegate.server.dialects.lightx2v.schemas import Metadata, QueueState, ServiceState
from framegate.server.dialects.lightx2v.submission import SubmissionSettings
from framegate.server.requests.jobs import ClientJobs

_UNLIMITED = 2**31 - 1


class ServiceController(Controller):
    """The queue and the service as a whole."""

    path = "/v1"

    @get("/tasks/queue/status", summary="State of the queue")
    async def queue_status(
        self, client_jobs: NamedDependency[ClientJobs], services: NamedDependency[CoreServices]
    ) -> QueueState:
        """Return how full the queue is."""
        counts, running = await asyncio.gather(services.jobs.counts(), _running_ids(client_jobs))
        queue_size = _queue_size(services)
        return QueueState(
            is_processing=counts.running > 0,
            current_task=running[-1] if running else None,
            pending_count=counts.queued,
            active_count=counts.active,
            queue_size=queue_size,
            queue_available=max(0, queue_size - counts.active),
        )

    @get("/service/status", summary="State of the service")
    async def service_status(
        self, client_jobs: NamedDependency[ClientJobs], services: NamedDependency[CoreServices]
    ) -> ServiceState:
        """Return what the service is doing."""
        counts, running = await asyncio.gather(services.jobs.counts(), _running_ids(client_jobs))
        return ServiceState(
            service_status="busy" if counts.running else "idle",
            current_task=running[-1] if running else None,
            active_tasks=running,
            pending_tasks=counts.queued,
            queue_size=_queue_size(services),
            total_tasks=counts.active + counts.succeeded + counts.failed + counts.cancelled,
            completed_tasks=counts.succeeded,
            failed_tasks=counts.failed,
        )

    @get("/service/metadata", summary="The served model and its workers")
    async def metadata(
        self, services: NamedDependency[CoreServices], settings: NamedDependency[SubmissionSettings]
    ) -> Metadata:
        """Return the video model, and the number of workers that can run it."""
        served = services.jobs.registry.resolve(settings.model)
        workers = [worker for worker in await services.jobs.workers() if served.spec.id in worker.models]
        return Metadata(nproc_per_node=len(workers), model_cls=served.spec.id, model_path=served.name)


def _queue_size(services: CoreServices) -> int:
    return services.jobs.max_queued or _UNLIMITED


async def _running_ids(client_jobs: ClientJobs) -> list[str]:
    return [job.client_id for job in await client_jobs.list(states=(JobState.RUNNING,))]
