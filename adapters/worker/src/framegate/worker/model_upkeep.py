"""What is done to models between jobs: operators load and unload them, and idle ones are unloaded."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import structlog

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import FramegateError, OutOfMemory
from framegate.core.models import ModelSpec
from framegate.core.ports import ModelRequest
from framegate.worker.model_cache import UNEXPECTED, ModelCache
from framegate.worker.resting_models import RestingModels

log = structlog.get_logger(__name__)


class ModelUpkeep:
    """Carry out requests for models while no job runs, in their order, and unload idle models.

    `receive` may be called by any thread, `run` only by the one that runs jobs: backends are used by one
    thread. ``loading`` is entered while a model is loaded, ``announce`` called after each request.
    """

    def __init__(
        self,
        models: ModelCache,
        resting: RestingModels,
        *,
        loading: Callable[[], AbstractContextManager[None]],
        announce: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._models = models
        self._resting = resting
        self._loading = loading
        self._announce = announce
        self._is_stopping = is_stopping
        self._lock = threading.Lock()
        self._pending: dict[str, ModelRequest] = {}
        self._received = 0
        self._carried_out = 0

    @property
    def carried_out(self) -> int:
        """The number of the latest request that was carried out; 0 before the first."""
        return self._carried_out

    @property
    def is_due(self) -> bool:
        """Whether there is something for `run` to do."""
        return bool(self._pending) or bool(self._models.overdue())

    def receive(self, requests: Sequence[ModelRequest]) -> None:
        """Take on the requests that were not received before; each replaces an earlier one for its model."""
        with self._lock:
            for request in requests:
                if request.number > self._received:
                    self._pending[request.model] = request
            self._received = max([self._received, *(request.number for request in requests)])

    def run(self) -> None:
        """Carry out what is due."""
        while not self._is_stopping() and (request := self._next()) is not None:
            spec = self._models.specs.get(request.model)
            if not request.load:
                self._models.unload(request.model)
            elif spec is not None and not request.problem:
                self._load(spec)
            self._carried_out = request.number
            self._announce()
        for model in self._models.overdue():
            log.info("model_unloaded", model=model, why="it had no job for as long as unload_after says")
            self._models.unload(model)

    def _next(self) -> ModelRequest | None:
        with self._lock:
            if not self._pending:
                return None
            return self._pending.pop(min(self._pending.values(), key=lambda each: each.number).model)

    def _load(self, spec: ModelSpec) -> None:
        """Load a model; a failure counts as that of a job does, and a success ends the model's rest."""
        try:
            with self._loading(), translate_disk_full():
                self._models.get(spec.id)
        except Exception as error:
            if isinstance(error, OutOfMemory | MemoryError):
                self._models.unload_others(spec.id)
            is_known = isinstance(error, FramegateError)
            reason = error.message if isinstance(error, FramegateError) else UNEXPECTED
            log.error("model_not_loaded", model=spec.id, reason=reason, exc_info=None if is_known else error)
            self._resting.note_failure(spec, reason)
        else:
            self._resting.note_success(spec.id)
