"""What operators hold back."""

from collections.abc import Mapping
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


class OperationStore(Protocol):
    """What operators hold back, for all processes that share the store.

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
