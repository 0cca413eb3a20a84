"""Is the server up, and can it work?"""

from typing import Literal

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct, to_builtins

from framegate.core.errors import FramegateError
from framegate.core.service import JobService
from framegate.server.dialect import PUBLIC


class Health(Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """``queue`` counts jobs by their state; ``workers`` are those alive; ``problems`` say what keeps some of
    their models from running now (jobs are taken all the same)."""

    status: Literal["ready", "degraded", "unavailable", "no workers"]
    queue: dict[str, int]
    workers: int
    problems: tuple[str, ...] = ()


def health_route() -> HTTPRouteHandler:
    @get("/health", tags=["server"], summary="Does the server take requests?", opt=dict(PUBLIC))
    async def health() -> Health:
        return Health()

    return health


def health_routes(service: JobService) -> list[HTTPRouteHandler]:
    @get("/ready", tags=["server"], summary="Is the queue reachable, and is a worker alive?")
    async def ready() -> Response[Readiness]:
        try:
            counts, workers = await service.counts(), await service.workers()
        except FramegateError:
            return Response(Readiness("unavailable", {}, 0), status_code=503, headers={"Retry-After": "5"})
        queue: dict[str, int] = to_builtins(counts)
        if not workers:
            return Response(Readiness("no workers", queue, 0), status_code=503, headers={"Retry-After": "5"})
        problems = tuple(sorted({problem for worker in workers for problem in worker.health_findings}))
        return Response(Readiness("degraded" if problems else "ready", queue, len(workers), problems))

    return [health_route(), ready]
