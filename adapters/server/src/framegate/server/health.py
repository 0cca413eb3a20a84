"""Report whether the server is up, and whether it can process jobs."""

from typing import Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import UNSET, Struct, UnsetType, to_builtins

from framegate.core.errors import FramegateError
from framegate.core.wiring import CoreServices
from framegate.server.dialect import PUBLIC

_RETRY = {"Retry-After": "5"}
_NONE_ALIVE = "No worker is alive; jobs wait until one is."


class Health(Struct, frozen=True):
    """The body of ``/health``."""

    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """The body of ``/ready``.

    ``queue`` counts jobs by their state; ``workers`` counts those alive; ``problems`` say why some of
    their models, or all, can't run at the moment (their jobs are accepted nevertheless). Only the status is
    there unless ``server.docs`` is open.
    """

    status: Literal["ready", "degraded", "unavailable", "no workers"]
    queue: dict[str, int] | UnsetType = UNSET
    workers: int | UnsetType = UNSET
    problems: tuple[str, ...] | UnsetType = ()


class HealthController(Controller):
    """Liveness."""

    @get("/health", summary="Check liveness", opt=dict(PUBLIC))
    async def health(self) -> Health:
        """Respond as soon as requests are accepted."""
        return Health()


class ReadinessController(Controller):
    """Readiness."""

    @get("/ready", summary="Check readiness: the queue is reachable, and jobs for a worker are accepted")
    async def ready(
        self, services: NamedDependency[CoreServices], shows_details: NamedDependency[bool]
    ) -> Response[Readiness]:
        """Respond with 503 while the queue can't be reached, and while no worker is alive.

        As long as jobs are accepted because a worker was alive a moment ago, it counts as degraded.
        """
        found = await _readiness(services)
        available = found.status in ("ready", "degraded")
        return Response(
            found if shows_details else Readiness(found.status, problems=UNSET),
            status_code=200 if available else 503,
            headers={} if available else _RETRY,
        )


async def _readiness(services: CoreServices) -> Readiness:
    try:
        counts, overview = await services.jobs.counts(), await services.jobs.availability.overview()
    except FramegateError:
        return Readiness("unavailable", {}, 0)
    queue: dict[str, int] = to_builtins(counts)
    workers = overview.workers
    if overview.waited_for:
        return Readiness("degraded", queue, 0, (_NONE_ALIVE,))
    if not workers:
        return Readiness("no workers", queue, 0)
    problems = tuple(sorted({problem for worker in workers for problem in worker.health_findings}))
    return Readiness("degraded" if problems else "ready", queue, len(workers), problems)
