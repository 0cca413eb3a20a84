"""Models: how many workers serve each, on which it is loaded, and which are paused."""

from collections.abc import Sequence

from litestar import Controller, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from framegate.core.operation_service import ModelStatus
from framegate.core.wiring import CoreServices
from framegate.server.requests.bodies import HTTPRequest


class Models(Struct, frozen=True):
    """The served models, and those that are paused or to be loaded but not served any more."""

    items: Sequence[ModelStatus]


class _ModelOperations(Controller):
    @post("/{name:str}/pause", status_code=200, summary="Let no worker start jobs of a model")
    async def pause(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> ModelStatus:
        """Return the model; its jobs are accepted and wait."""
        return await services.operations.pause(_name(request))

    @post("/{name:str}/resume", status_code=200, summary="Let workers start jobs of a model again")
    async def resume(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> ModelStatus:
        """Return the model."""
        return await services.operations.resume_model(_name(request))

    @post("/{name:str}/load", status_code=200, summary="Let all workers that serve a model load it")
    async def load(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> ModelStatus:
        """Return the model; workers that run a job load it afterwards."""
        return await services.operations.load_model(_name(request))

    @post("/{name:str}/unload", status_code=200, summary="Let all workers unload a model")
    async def unload(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> ModelStatus:
        """Return the model; its next job loads it again."""
        return await services.operations.unload_model(_name(request))


class ModelController(_ModelOperations):
    """Models. A name is the id of a model, or an alias, which stands for the model that serves it."""

    path = "/models"

    @get("/", summary="All served models")
    async def list_models(self, services: NamedDependency[CoreServices]) -> Models:
        """Return the served models."""
        return Models(await services.operations.models())


class OwnedModelController(_ModelOperations):
    """The same for names with a slash, as those of a hub have."""

    path = "/models/{owner:str}"
    include_in_schema = False


def _name(request: HTTPRequest) -> str:
    return "/".join(
        str(request.path_params[part]) for part in ("owner", "name") if part in request.path_params
    )
