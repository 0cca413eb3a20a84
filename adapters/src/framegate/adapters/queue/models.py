"""The models that this worker process holds."""

from collections.abc import Callable, Mapping

import structlog

from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import load_object

log = structlog.get_logger(__name__)


class LoadedModels:
    """Backends by model id, loaded at their first job and kept while their specs stay the same. ``specs``
    gives the models as they are when it is called."""

    def __init__(self, specs: Callable[[], Mapping[str, ModelSpec]], device: str) -> None:
        self._specs = specs
        self.device = device
        self._loaded: dict[str, tuple[ModelSpec, Backend]] = {}

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        return self._specs()

    def get(self, model_id: str) -> Backend:
        """Raises:
        GenerationError: the model can't be loaded; the message says why.
        """
        spec = self.specs.get(model_id)
        if spec is None:
            raise GenerationFailed(f"The model {model_id} is not configured on this worker.")
        if model_id in self._loaded:
            known, loaded = self._loaded[model_id]
            if known == spec:
                return loaded
            del self._loaded[model_id]
            loaded.unload()
        try:
            backend: Backend = load_object(spec.backend)(spec.source, spec.options)
        except PluginError as error:
            raise GenerationFailed(error.message) from error
        log.info("model_loading", model=model_id, device=self.device)
        backend.load(self.device)
        self._loaded[model_id] = spec, backend
        return backend

    def unload_all(self) -> None:
        while self._loaded:
            _, (_, backend) = self._loaded.popitem()
            backend.unload()
