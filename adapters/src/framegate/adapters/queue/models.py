"""The models that this worker process holds."""

from collections import OrderedDict
from collections.abc import Mapping

import structlog

from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed, OutOfMemory, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import load_object

log = structlog.get_logger(__name__)


class LoadedModels:
    """Backends by model id, loaded at their first job and kept. The least recently used make room: for a
    model that would take all of them beyond ``budget`` bytes (0 for no limit), and for one that finds no
    memory.
    """

    def __init__(self, specs: Mapping[str, ModelSpec], device: str, *, budget: int = 0) -> None:
        self.specs = specs
        self.device = device
        self._budget = budget
        self._loaded: OrderedDict[str, Backend] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def holds(self, model_id: str) -> bool:
        return model_id in self._loaded

    def get(self, model_id: str) -> Backend:
        """Raises:
        GenerationError: the model can't be loaded; the message says why.
        """
        if model_id not in self._loaded:
            spec = self.specs.get(model_id)
            if spec is None:
                raise GenerationFailed(f"The model {model_id} is not configured on this worker.")
            try:
                backend: Backend = load_object(spec.backend)(spec.source, spec.options)
            except PluginError as error:
                raise GenerationFailed(error.message) from error
            self._load(model_id, backend)
        self._loaded.move_to_end(model_id)
        return self._loaded[model_id]

    def unload_others(self, model_id: str) -> None:
        """Leave the device's memory to this model."""
        for other in [name for name in self._loaded if name != model_id]:
            self._unload(other)

    def unload_all(self) -> None:
        while self._loaded:
            self._unload(next(iter(self._loaded)))

    def _load(self, model_id: str, backend: Backend) -> None:
        size = backend.memory_needed(self.device) if self._budget else 0
        while self._loaded and sum(self._sizes.values()) + size > self._budget > 0:
            self._unload_oldest(f"{model_id} does not fit into the budget beside it")
        log.info("model_loading", model=model_id, device=self.device)
        while True:
            try:
                backend.load(self.device)
                break
            except OutOfMemory as error:
                if not self._loaded:
                    raise
                self._unload_oldest(error.message)
        self._loaded[model_id] = backend
        self._sizes[model_id] = size

    def _unload_oldest(self, why: str) -> None:
        oldest = next(iter(self._loaded))
        log.info("model_makes_room", model=oldest, why=why)
        self._unload(oldest)

    def _unload(self, model_id: str) -> None:
        self._sizes.pop(model_id)
        self._loaded.pop(model_id).unload()
