"""What operators hold back and ask for, in memory."""

import time
from collections.abc import Iterable, Mapping

from framegate.core.ports import HeldBack, ModelRequest


class InMemoryOperationStore:
    """An `OperationStore` in memory; `is_paused` and `is_drained` are the rules that claims follow."""

    def __init__(self) -> None:
        self._paused: dict[str, float] = {}
        self._drained: dict[str, float] = {}
        self._requests: dict[str, ModelRequest] = {}
        self._last_number = 0

    def is_paused(self, model: str) -> bool:
        """Return whether no worker may start jobs of the model."""
        return model in self._paused

    def is_drained(self, names: Iterable[str]) -> bool:
        """Return whether the worker that has these names takes no jobs."""
        return any(name in self._drained for name in names)

    async def held_back(self) -> HeldBack:
        """Return what is held back now."""
        return HeldBack(dict(self._paused), dict(self._drained))

    async def pause_model(self, model: str) -> None:
        """Pause the model."""
        self._paused.setdefault(model, time.time())

    async def resume_model(self, model: str) -> None:
        """Resume the model."""
        self._paused.pop(model, None)

    async def drain_worker(self, name: str) -> None:
        """Drain the workers of this name."""
        self._drained.setdefault(name, time.time())

    async def resume_worker(self, name: str) -> None:
        """Resume the workers of this name."""
        self._drained.pop(name, None)

    async def model_requests(self) -> Mapping[str, ModelRequest]:
        """Return the latest request for each model."""
        return dict(self._requests)

    async def request_model(self, model: str, *, load: bool) -> None:
        """Let the workers that serve the model load it, or unload it."""
        self._request(model, load=load)

    def give_up_load(self, model: str, problem: str) -> None:
        """End the request to load the model, as when a worker has died meanwhile."""
        self._request(model, load=False, problem=problem)

    def _request(self, model: str, *, load: bool, problem: str = "") -> None:
        self._last_number += 1
        self._requests[model] = ModelRequest(model, self._last_number, load, time.time(), problem)
