"""What is done to models between jobs: operators load and unload them, and idle ones are unloaded."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import structlog

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import FramegateError, OutOfMemory
from framegate.core.models import ModelSpec
from framegate.core.ports import ModelRequest
from framegate.storage.jobs.worker_store import LoadVerdict
from framegate.worker.model_cache import UNEXPECTED, ModelCache
from framegate.worker.resting_models import RestingModels

log = structlog.get_logger(__name__)
AGAIN_SECONDS = 1.0
"""When a load that has to wait is tried again."""


class ModelUpkeep:
    """Carry out requests for models while no job runs, in their order, and unload idle models.

    `receive` may be called by any thread, `run` only by the one that runs jobs: backends are used by one
    thread. ``begin_load`` says whether a request to load a model may be carried out now, ``end_load`` is
    called when that was done or has failed. ``loading`` is entered while a model is loaded, ``announce``
    called after each request. ``now`` is the time in seconds.
    """

    def __init__(
        self,
        models: ModelCache,
        resting: RestingModels,
        *,
        begin_load: Callable[[ModelRequest], LoadVerdict],
        end_load: Callable[[], object],
        loading: Callable[[], AbstractContextManager[None]],
        announce: Callable[[], None],
        is_stopping: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._resting = resting
        self._begin_load = begin_load
        self._end_load = end_load
        self._loading = loading
        self._announce = announce
        self._is_stopping = is_stopping
        self._lock = threading.Lock()
        self._pending: dict[str, ModelRequest] = {}
        self._received: dict[str, str] = {}
        self._carried_out: Mapping[str, str] = {}
        self._now = now
        self._again_at: dict[str, float] = {}

    @property
    def carried_out(self) -> Mapping[str, str]:
        """The ids of the latest requests that were carried out, by the models' ids; for any thread."""
        return self._carried_out

    @property
    def is_due(self) -> bool:
        """Whether there is something for `run` to do."""
        with self._lock:
            is_requested = self._find_next() is not None
        return is_requested or bool(self._models.overdue())

    def receive(self, requests: Sequence[ModelRequest]) -> None:
        """Take on the requests that were not received before; each replaces an earlier one for its model."""
        with self._lock:
            for request in requests:
                if self._received.get(request.model) != request.id:
                    self._received[request.model] = request.id
                    self._pending[request.model] = request
                    self._again_at.pop(request.model, None)

    def run(self) -> None:
        """Carry out what is due."""
        while not self._is_stopping() and (request := self._take_next()) is not None:
            if self._carry_out(request):
                self._carried_out = {**self._carried_out, request.model: request.id}
                self._announce()
            else:
                self._put_back(request)
        for model in self._models.overdue():
            self._unload(model, "it had no job for as long as unload_after says")

    def _carry_out(self, request: ModelRequest) -> bool:
        """Return False if that has to wait."""
        spec = self._models.specs.get(request.model)
        if request.problem:
            return True
        if not request.load:
            self._unload(request.model, "an operator has requested that")
        elif spec is not None:
            verdict = self._begin_load(request)
            if verdict == LoadVerdict.BEGIN:
                self._load(spec)
                self._end_load()
            return verdict != LoadVerdict.WAIT
        return True

    def _find_next(self) -> ModelRequest | None:
        now = self._now()
        due = [each for each in self._pending.values() if self._again_at.get(each.model, now) <= now]
        return min(due, key=lambda each: each.number, default=None)

    def _take_next(self) -> ModelRequest | None:
        with self._lock:
            request = self._find_next()
            return self._pending.pop(request.model) if request is not None else None

    def _put_back(self, request: ModelRequest) -> None:
        """Let a request be due again later, unless another one has replaced it meanwhile."""
        with self._lock:
            if self._received[request.model] == request.id:
                self._pending[request.model] = request
                self._again_at[request.model] = self._now() + AGAIN_SECONDS

    def _unload(self, model: str, why: str) -> None:
        if model in self._models.loads:
            log.info("model_unloaded", model=model, why=why)
        try:
            self._models.unload(model)
        except Exception as error:
            log.error("model_not_unloaded", model=model, exc_info=error)

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
