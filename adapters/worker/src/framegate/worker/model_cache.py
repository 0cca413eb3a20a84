"""The models that this worker process keeps loaded, and what became of those that it could not load."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from framegate.core.backend import Backend
from framegate.core.errors import FramegateError, GenerationFailed, OutOfMemory, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import create_backend
from framegate.core.ports import LoadedState, ModelLoad

log = structlog.get_logger(__name__)
UNEXPECTED = "The model failed with an unexpected error; the server's log has the details."
"""What is said of an error whose own text may hold anything."""


class _Loaded(NamedTuple):
    spec: ModelSpec
    backend: Backend
    size: int


class ModelCache:
    """Backends by model id, loaded for their first job and kept while what they are loaded from is the same.

    ``specs`` returns the models as configured at that moment. The least recently used models are unloaded for
    one that would exceed the ``budget`` in bytes (0 for no limit), and for one that finds no memory. Models
    are `overdue` once they have not been used for their own ``unload_after`` seconds or, without one, those
    given here; 0 is never. ``now`` is the time in seconds.

    Attributes:
        on_change: Called whenever `loads` has changed, by the thread that uses the models.
    """

    def __init__(
        self,
        specs: Callable[[], Mapping[str, ModelSpec]],
        device: str,
        *,
        budget: int = 0,
        unload_after: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._specs = specs
        self._unload_after = unload_after
        self._now = now
        self._used_at: dict[str, float] = {}
        self.device = device
        self._budget = budget
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loads: Mapping[str, ModelLoad] = {}
        self.on_change: Callable[[], None] = lambda: None

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        """The models that this worker can run, by id."""
        return self._specs()

    @property
    def loads(self) -> Mapping[str, ModelLoad]:
        """The models that are loaded, that are being loaded, and that failed to load last; for any thread."""
        return self._loads

    def is_loaded(self, model_id: str) -> bool:
        """Return whether the model is loaded as it is configured now."""
        known, spec = self._loaded.get(model_id), self.specs.get(model_id)
        return known is not None and spec is not None and _loading(known.spec) == _loading(spec)

    def get(self, model_id: str) -> Backend:
        """Return the model's backend, loaded.

        Raises:
            GenerationError: The model can't be loaded; the message says why.
        """
        specs = self.specs
        for removed in self._loads.keys() - specs.keys():
            self.unload(removed)
        spec = specs.get(model_id)
        if spec is None:  # it was removed since the job was claimed
            raise GenerationFailed(f"The model {model_id} is not configured on this worker.")
        if not self.is_loaded(model_id):
            if model_id in self._loaded:
                self._unload(model_id)
            self._load(spec)
        self._loaded.move_to_end(model_id)
        self.note_use(model_id)
        return self._loaded[model_id].backend

    def note_use(self, model_id: str) -> None:
        """Note that the model was in use until now."""
        self._used_at[model_id] = self._now()

    def overdue(self) -> Sequence[str]:
        """Return the loaded models that have not been used for so long that they are to be unloaded."""
        if not self._loaded:
            return ()
        specs, now = self.specs, self._now()
        return [
            name for name in self._loaded if 0 < self._limit(specs.get(name)) <= now - self._used_at[name]
        ]

    def _limit(self, spec: ModelSpec | None) -> float:
        return self._unload_after if spec is None or spec.unload_after is None else spec.unload_after

    def unload(self, model_id: str) -> None:
        """Unload a model if it is loaded, and forget why it could not be loaded otherwise."""
        if model_id in self._loaded:
            self._unload(model_id)
        elif model_id in self._loads:
            self._note(model_id, None)

    def unload_others(self, model_id: str) -> None:
        """Unload all models but one, to leave it the device's memory."""
        for other in [name for name in self._loaded if name != model_id]:
            self._unload(other)

    def unload_all(self) -> None:
        """Unload all models."""
        while self._loaded:
            self._unload(next(iter(self._loaded)))

    def _load(self, spec: ModelSpec) -> None:
        self._note(spec.id, ModelLoad(LoadedState.LOADING))
        try:
            self._loaded[spec.id] = self._make_room_and_load(spec)
        except Exception as error:
            reason = error.message if isinstance(error, FramegateError) else UNEXPECTED
            self._note(spec.id, ModelLoad(LoadedState.FAILED, reason))
            raise
        self._note(spec.id, ModelLoad(LoadedState.LOADED))

    def _make_room_and_load(self, spec: ModelSpec) -> _Loaded:
        try:
            backend = create_backend(spec)
        except PluginError as error:
            raise GenerationFailed(error.message) from error
        size = backend.memory_needed(self.device) if self._budget else 0
        while self._loaded and self._loaded_bytes() + size > self._budget > 0:
            self._unload_oldest(f"{spec.id} does not fit into the budget beside it")
        log.info("model_loading", model=spec.id, device=self.device)
        while True:
            try:
                backend.load(self.device)
                break
            except OutOfMemory as error:
                if not self._loaded:
                    raise
                self._unload_oldest(error.message)
        return _Loaded(spec, backend, size)

    def _loaded_bytes(self) -> int:
        return sum(loaded.size for loaded in self._loaded.values())

    def _unload_oldest(self, why: str) -> None:
        oldest = next(iter(self._loaded))
        log.info("model_evicted", model=oldest, why=why)
        self._unload(oldest)

    def _unload(self, model_id: str) -> None:
        try:
            self._loaded.pop(model_id).backend.unload()
        finally:
            self._note(model_id, None)

    def _note(self, model_id: str, load: ModelLoad | None) -> None:
        """Note what became of a model. Other threads read the mapping, so it is replaced as a whole."""
        others = {name: known for name, known in self._loads.items() if name != model_id}
        self._loads = others if load is None else {**others, model_id: load}
        self.on_change()


def _loading(spec: ModelSpec) -> tuple[str, str, Mapping[str, Any]]:
    """Return what a backend is loaded from; all else of a spec concerns requests alone."""
    return spec.backend, spec.source, spec.options
