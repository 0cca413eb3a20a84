"""What operators hold back, and which models they want to be loaded."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class HeldBack(Struct, frozen=True):
    """What operators hold back, and since when: in seconds since the epoch, by the store's clock.

    Attributes:
        paused: Models by id, of which no worker starts jobs.
        drained: Workers that take no jobs, by a name: ``HOST``, ``HOST/DEVICE``, or the id of a single one.
    """

    paused: Mapping[str, float] = {}
    drained: Mapping[str, float] = {}


class LoadedState(StrEnum):
    """Whether a worker has a model on its device: it is there, on its way, or could not be loaded."""

    LOADED = "loaded"
    LOADING = "loading"
    FAILED = "failed"


class ModelLoad(Struct, frozen=True):
    """What became of a model on a worker; ``reason`` is a sentence about a failure."""

    state: LoadedState
    reason: str = ""


class ModelRequest(Struct, frozen=True):
    """What an operator wants all workers that serve a model to do with it.

    It holds until the next one for the same model: a worker that starts later carries it out as well.

    Attributes:
        model: The model's id.
        number: Its place among the requests for all models, from 1; workers carry them out in this order.
        load: Whether the model is to be loaded; otherwise it is unloaded, until a job needs it.
        at: Since when, in seconds since the epoch, by the store's clock.
        problem: Why no worker loads the model any more, although that was requested; empty otherwise.
    """

    model: str
    number: int
    load: bool
    at: float
    problem: str = ""

    @property
    def id(self) -> str:
        """What tells it from others, also from one of the same number that was made after data was lost."""
        return f"{self.number}@{self.at:.3f}"


class OperationStore(Protocol):
    """What operators hold back or ask for, for all processes that share the store.

    Every method raises `Unavailable` when the store can't be reached.
    """

    async def held_back(self) -> HeldBack:
        """Return what is held back now."""
        ...

    async def pause_model(self, model: str) -> None:
        """Let no worker start jobs of the model with this id; those that run go on."""
        ...

    async def resume_model(self, model: str) -> None:
        """Let workers start jobs of the model again."""
        ...

    async def drain_worker(self, name: str) -> None:
        """Let the workers of this name take no more jobs, nor those that will have it.

        The entry of a single worker, by its id, ends with it.
        """
        ...

    async def resume_worker(self, name: str) -> None:
        """Remove the entry of this name; a worker may be drained by another one."""
        ...

    async def model_requests(self) -> Mapping[str, ModelRequest]:
        """Return the latest request for each model that there was one for, by its id."""
        ...

    async def request_model(self, model: str, *, load: bool) -> None:
        """Let the workers that serve the model with this id load it, or unload it."""
        ...
