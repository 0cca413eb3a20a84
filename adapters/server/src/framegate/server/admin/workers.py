"""Workers: which are alive, and which of them take jobs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from litestar import Controller, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from framegate.core.keys import Moment
from framegate.core.ports import ModelLoad
from framegate.core.wiring import CoreServices
from framegate.core.workers import WorkerState, WorkerStatus
from framegate.server.requests.bodies import HTTPRequest


class Worker(Struct, frozen=True, kw_only=True):
    """A live worker.

    ``name`` is how other routes call it; ``job`` is the id of the one that it runs. ``drained_by`` are the
    names by which it is drained, ``problems`` say what keeps some of its models from running.
    ``video_encoder`` is FFmpeg's name of what encodes its videos, null for a worker of 0.1. ``loads`` are the
    models that it has loaded, loads, or failed to load, by id.
    """

    name: str
    state: WorkerState
    id: str
    host: str
    device: str
    pid: int
    version: str
    models: tuple[str, ...]
    job: str | None
    started_at: Moment
    drained_by: tuple[str, ...]
    problems: tuple[str, ...]
    video_encoder: str | None
    loads: Mapping[str, ModelLoad]


class Workers(Struct, frozen=True):
    """Live workers, and since when which names are drained, whether or not a live worker has them."""

    items: Sequence[Worker]
    drained: Mapping[str, Moment]


class WorkerController(Controller):
    """Workers. A name is ``HOST``, ``HOST/DEVICE``, ``HOST/DEVICE/PID`` or the id of one."""

    path = "/workers"

    @get("/", summary="All live workers")
    async def list_workers(self, services: NamedDependency[CoreServices]) -> Workers:
        """Return the live workers, and what is drained."""
        return await _workers(services, await services.operations.workers())

    @post(
        [
            "/{host:str}/drain",
            "/{host:str}/{device:str}/drain",
            "/{host:str}/{device:str}/{pid:str}/drain",
        ],
        status_code=200,
        summary="Let workers finish their jobs and take no more",
    )
    async def drain(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> Workers:
        """Return the workers of that name."""
        return await _workers(services, await services.operations.drain(_name(request)))

    @post(
        [
            "/{host:str}/resume",
            "/{host:str}/{device:str}/resume",
            "/{host:str}/{device:str}/{pid:str}/resume",
        ],
        status_code=200,
        summary="Let drained workers take jobs again",
    )
    async def resume(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> Workers:
        """Return the workers of that name."""
        return await _workers(services, await services.operations.resume(_name(request)))


def _name(request: HTTPRequest) -> str:
    return "/".join(
        str(request.path_params[part]) for part in ("host", "device", "pid") if part in request.path_params
    )


async def _workers(services: CoreServices, found: Sequence[WorkerStatus]) -> Workers:
    drained = await services.operations.drained()
    return Workers([_worker(status) for status in found], {name: _moment(at) for name, at in drained.items()})


def _worker(status: WorkerStatus) -> Worker:
    return Worker(
        name=status.name,
        state=status.state,
        id=status.id,
        host=status.host,
        device=status.device,
        pid=status.pid,
        version=status.version,
        models=status.models,
        job=status.job or None,
        started_at=_moment(status.started_at),
        drained_by=status.drained_by,
        problems=status.problems,
        video_encoder=status.video_encoder or None,
        loads=status.loads,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
