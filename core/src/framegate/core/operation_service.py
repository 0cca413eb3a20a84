"""What operators do while the server runs: drain workers and pause models."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from framegate.core import audit
from framegate.core.errors import InvalidRequest, ModelNotFound, WorkerNotFound
from framegate.core.keys import Moment
from framegate.core.ports import JobStore
from framegate.core.registry import Registry
from framegate.core.workers import WorkerStatus, describe_workers, worker_names

_SHOWN_NAMES = 10


class ModelStatus(Struct, frozen=True, kw_only=True):
    """A served model as operators see it.

    Attributes:
        id: Its id.
        backend: The backend that runs it; empty if the model is no longer served.
        workers: How many live workers have it.
        paused_at: Since when no worker starts its jobs, by the store's clock; None if they do.
    """

    id: str
    backend: str
    workers: int
    paused_at: Moment | None


class OperationService:
    """Drain workers and pause models, and show which are. All of it is recorded in the audit log.

    Jobs of a paused model, and those whose workers are all drained, are accepted and wait.
    """

    def __init__(self, registry: Registry, store: JobStore) -> None:
        self._registry = registry
        self._store = store

    async def workers(self) -> Sequence[WorkerStatus]:
        """Return the live workers."""
        held_back = await self._store.operations.held_back()
        return describe_workers((await self._store.worker_presence()).workers, held_back.drained)

    async def drained(self) -> Mapping[str, float]:
        """Return the names that are drained, whether or not a live worker has them, and since when."""
        return (await self._store.operations.held_back()).drained

    async def drain(self, name: str) -> Sequence[WorkerStatus]:
        """Let workers finish their jobs and take no more; return those of that name.

        The name is that of one worker or its id, or ``HOST/DEVICE`` or ``HOST`` for all workers there. The
        last two hold for workers to come as well, until `resume`.

        Raises:
            WorkerNotFound: No live worker has this name.
        """
        workers = await self.workers()
        entry = _entry_of(name, workers)
        await self._store.operations.drain_worker(entry)
        audit.record("worker_drained", worker=name)
        return _named(entry, await self.workers())

    async def resume(self, name: str) -> Sequence[WorkerStatus]:
        """Let workers take jobs again; return those of that name.

        Of a host these are the workers of all its devices, however they were drained.

        Raises:
            WorkerNotFound: Neither a live worker nor a drained host or device has this name.
            InvalidRequest: They are drained together with others, by the name of their host or device.
        """
        workers, drained = await self.workers(), await self.drained()
        entry = name if name in drained else _entry_of(name, workers, also=drained)
        named = _named(entry, workers)
        below = {other for other in drained if other.startswith(f"{entry}/")}
        own = {entry, *below, *(worker.id for worker in named)}
        if others := sorted({by for worker in named for by in worker.drained_by} - own):
            raise InvalidRequest(
                f"{name} is drained together with the other workers of {others[0]}; resume {others[0]}.",
                param="name",
            )
        for drained_by in sorted(own & drained.keys()):
            await self._store.operations.resume_worker(drained_by)
        audit.record("worker_resumed", worker=name)
        return _named(entry, await self.workers())

    async def models(self) -> Sequence[ModelStatus]:
        """Return the served models, and paused ones that are no longer served."""
        paused = (await self._store.operations.held_back()).paused
        served = Counter(
            model for worker in (await self._store.worker_presence()).workers for model in worker.models
        )
        backends = {spec.id: spec.backend for spec in self._registry.specs.values()}
        return [
            ModelStatus(
                id=model,
                backend=backends.get(model, ""),
                workers=served[model],
                paused_at=datetime.fromtimestamp(paused[model], UTC) if model in paused else None,
            )
            for model in (*backends, *sorted(paused.keys() - backends.keys()))
        ]

    def _resolve(self, model: str) -> str:
        """Return the id of the model that serves the name ``model``."""
        try:
            return self._registry.resolve(model).spec.id
        except ModelNotFound as error:  # of which no field of a body is to blame
            raise ModelNotFound(error.message) from None

    async def _status(self, model: str) -> ModelStatus:
        known = {status.id: status for status in await self.models()}
        return known.get(model) or ModelStatus(id=model, backend="", workers=0, paused_at=None)

    async def pause(self, model: str) -> ModelStatus:
        """Let no worker start jobs of a model until `resume_model`, also after a restart; return it.

        An alias stands for the model that serves it. Jobs that run go on.

        Raises:
            ModelNotFound: There is no such model.
        """
        served = self._resolve(model)
        await self._store.operations.pause_model(served)
        audit.record("model_paused", model=served)
        return await self._status(served)

    async def resume_model(self, model: str) -> ModelStatus:
        """Let workers start jobs of a model again, and return it.

        Raises:
            ModelNotFound: There is no such model, nor is one of this id paused.
        """
        paused = (await self._store.operations.held_back()).paused
        # One that is no longer served can still be resumed.
        served = model if model in paused else self._resolve(model)
        await self._store.operations.resume_model(served)
        audit.record("model_resumed", model=served)
        return await self._status(served)


def _entry_of(name: str, workers: Sequence[WorkerStatus], *, also: Collection[str] = ()) -> str:
    """Return the name under which the store knows what operators call ``name``."""
    for worker in workers:
        if name in worker_names(worker.host, worker.device):
            return name
        if name in (worker.name, worker.id):
            return worker.id
    known = {*also, *(known for worker in workers for known in (worker.host, worker.name))}
    raise WorkerNotFound(f"No live worker is called {name[:200]!r}.{_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    """Return a sentence that says which name may have been meant, or which there are."""
    names = sorted(set(known))
    if close := difflib.get_close_matches(name, names, n=1):
        return f" Did you mean {close[0]}?"
    return f" There are {', '.join(names[:_SHOWN_NAMES])}." if names else ""


def _named(entry: str, workers: Sequence[WorkerStatus]) -> Sequence[WorkerStatus]:
    return [worker for worker in workers if entry in (*worker_names(worker.host, worker.device), worker.id)]
