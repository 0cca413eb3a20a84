"""The models that this worker process holds."""

from collections.abc import Mapping

import structlog

from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import load_object

log = structlog.get_logger(__name__)


class LoadedModels:
    """Backends by model id, loaded at their first job and kept."""

    def __init__(self, specs: Mapping[str, ModelSpec], device: str) -> None:
        self.specs = specs
        self.device = device
        self._loaded: dict[str, Backend] = {}

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
            log.info("model_loading", model=model_id, device=self.device)
            backend.load(self.device)
            self._loaded[model_id] = backend
        return self._loaded[model_id]

    def unload_all(self) -> None:
        while self._loaded:
            self._loaded.popitem()[1].unload()
