"""Models: how many workers serve each, and which are paused."""

from collections.abc import Sequence

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from framegate.core.operation_service import ModelStatus
from framegate.core.wiring import CoreServices


class Models(Struct, frozen=True):
    """The served models, and those that are paused but not served any more."""

    items: Sequence[ModelStatus]


class ModelController(Controller):
    """Models. A name is the id of a model, or an alias, which stands for the model that serves it."""

    path = "/models"

    @get("/", summary="All served models")
    async def list_models(self, services: NamedDependency[CoreServices]) -> Models:
        """Return the served models."""
        return Models(await services.operations.models())

    @post("/{name:str}/pause", status_code=200, summary="Let no worker start jobs of a model")
    async def pause(self, services: NamedDependency[CoreServices], name: FromPath[str]) -> ModelStatus:
        """Return the model; its jobs are accepted and wait."""
        return await services.operations.pause(name)

    @post("/{name:str}/resume", status_code=200, summary="Let workers start jobs of a model again")
    async def resume(self, services: NamedDependency[CoreServices], name: FromPath[str]) -> ModelStatus:
        """Return the model."""
        return await services.operations.resume_model(name)
