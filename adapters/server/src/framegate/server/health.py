"""Report whether the process is alive, whether it can take requests, and how the whole installation is."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import structlog
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from msgspec import UNSET, Struct, UnsetType, to_builtins

from framegate.core.availability import WorkerOverview
from framegate.core.dependencies import ANSWER_SECONDS, Dependencies
from framegate.core.errors import FramegateError, Unavailable
from framegate.core.shared_call import SharedCall
from framegate.core.wiring import CoreServices
from framegate.server.auth.key_ring import KeyRing
from framegate.server.dialect import PUBLIC
from framegate.server.process_state import ProcessState

log = structlog.get_logger(__name__)

_RETRY = {"Retry-After": "5"}
_NONE_ALIVE = "No worker is alive; jobs wait until one is."
_NONE_SEEN = "No worker is alive."


class Health(Struct, frozen=True):
    """The body of ``/health``."""

    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """The body of ``/ready``. ``reason`` is a sentence, there only if ``server.docs`` is open."""

    status: Literal["ready", "unavailable"]
    reason: str | UnsetType = UNSET


class ModelAvailability(Struct, frozen=True):
    """A served model: how many live workers have it, and whether an operator has paused it."""

    workers: int
    paused: bool


class Status(Struct, frozen=True):
    """The body of ``/status``.

    ``queue`` counts jobs by their state, ``workers`` those alive; ``models`` are those served here by their
    ids. ``problems`` say, a sentence each, why requests are refused, or why some models or all can't run at
    the moment although their jobs are accepted.
    """

    status: Literal["ready", "degraded", "unavailable", "no workers"]
    queue: dict[str, int]
    workers: int
    models: dict[str, ModelAvailability]
    problems: tuple[str, ...]


class _Overview(Struct, frozen=True):
    workers: WorkerOverview
    models: dict[str, ModelAvailability]


class Probes:
    """Answers to probes, within a second whatever the queue and the storage do.

    ``plugin_problems`` say which plugins take no part that should.
    """

    def __init__(
        self,
        services: CoreServices,
        keys: KeyRing,
        process: ProcessState,
        plugin_problems: Sequence[str] = (),
    ) -> None:
        self._services = services
        self._dependencies: Dependencies = services.dependencies
        self._keys = keys
        self._process = process
        self._plugin_problems = plugin_problems
        self._logged = ""
        self._overview: SharedCall[_Overview] = SharedCall(
            self._look,
            patience=ANSWER_SECONDS,
            silent=f"The job queue hasn't answered within {ANSWER_SECONDS:g} s; try again shortly.",
        )

    async def readiness(self) -> Readiness:
        """Return whether this process can take requests; a change is logged."""
        reason = await self._why_not_ready()
        if reason != self._logged:
            if reason:
                log.warning("not_ready", reason=reason)
            else:
                log.info("ready_again")
            self._logged = reason
        return Readiness("unavailable", reason) if reason else Readiness("ready")

    async def status(self) -> Status:
        """Return how queue, workers and models are."""
        reason, counts, overview = await asyncio.gather(
            self._why_not_ready(),
            self._dependencies.check_queue(),
            self._overview.result(),
            return_exceptions=True,
        )
        if isinstance(reason, BaseException):
            raise reason
        queue = {} if isinstance(counts, BaseException) else _counted(counts)
        if isinstance(overview, BaseException):
            if not isinstance(overview, FramegateError):
                raise overview
            return Status("unavailable", queue, 0, {}, (reason or overview.message,))
        workers, models = overview.workers.workers, overview.models
        found = {problem for worker in workers for problem in worker.problems}
        problems = [*sorted(found), *overview.workers.findings, *self._plugin_problems]
        if reason:
            return Status("unavailable", queue, len(workers), models, (reason, *problems))
        if overview.workers.waited_for:
            return Status("degraded", queue, 0, models, (_NONE_ALIVE, *problems))
        if not workers:
            return Status("no workers", queue, 0, models, (_NONE_SEEN, *problems))
        return Status("degraded" if problems else "ready", queue, len(workers), models, tuple(problems))

    async def _look(self) -> _Overview:
        workers = await self._services.jobs.availability.overview()
        models = {
            status.id: ModelAvailability(status.workers, paused=status.paused_at is not None)
            for status in await self._services.operations.models()
        }
        return _Overview(workers, models)

    async def _why_not_ready(self) -> str:
        """Return why this process can't take requests, empty if it can."""
        if self._process.stopping:
            return "The server is shutting down."
        checks = await asyncio.gather(
            self._dependencies.check_queue(), self._dependencies.check_storage(), return_exceptions=True
        )
        for error in checks:
            if isinstance(error, FramegateError):
                return error.message
            if isinstance(error, BaseException):
                raise error
        if not self._process.start_checked:
            return "Queue and storage have yet to be checked; try again shortly."
        try:
            self._keys.require_known()
        except Unavailable as error:
            return error.message
        return ""


class HealthController(Controller):
    """Liveness."""

    @get("/health", summary="Check liveness", opt=dict(PUBLIC))
    async def health(self) -> Health:
        """Respond as soon as requests are accepted."""
        return Health()


class ReadinessController(Controller):
    """Readiness."""

    @get("/ready", summary="Check readiness: this process can take requests", opt=dict(PUBLIC))
    async def ready(
        self, probes: NamedDependency[Probes], shows_details: NamedDependency[bool]
    ) -> Response[Readiness]:
        """Respond within a second, with 503 and the reason while requests can't be taken.

        That is while queue or storage can't be used, the API keys have yet to be read, or the server is
        shutting down. It says nothing about workers, which `/status` does.
        """
        found = await probes.readiness()
        available = found.status == "ready"
        return Response(
            found if shows_details else Readiness(found.status),
            status_code=200 if available else 503,
            headers={} if available else _RETRY,
        )


class StatusController(Controller):
    """The state of the installation."""

    @get("/status", summary="Show queue, workers, models and problems")
    async def status(self, probes: NamedDependency[Probes]) -> Response[Status]:
        """Respond with 503 while requests can't be taken, and while no worker is alive.

        As long as jobs are accepted because a worker was alive a moment ago, it counts as degraded.
        """
        found = await probes.status()
        available = found.status in ("ready", "degraded")
        return Response(found, status_code=200 if available else 503, headers={} if available else _RETRY)


def _counted(counts: object) -> dict[str, int]:
    queue: dict[str, int] = to_builtins(counts)
    return queue
