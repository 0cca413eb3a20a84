"""What operators do while the server runs: drain workers, and pause, load and unload models."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

from framegate.core import audit
from framegate.core.errors import InvalidRequest, ModelNotFound, ModelNotLoadable, WorkerNotFound
from framegate.core.keys import Moment
from framegate.core.ports import JobStore, LoadedState, ModelRequest
from framegate.core.registry import Registry
from framegate.core.workers import WorkerStatus, describe_workers, worker_names

_SHOWN_NAMES = 10


class DeviceState(StrEnum):
    """Whether a model is on a worker's device; workers of earlier versions don't say."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ModelOnWorker(Struct, frozen=True, kw_only=True):
    """A model on a live worker that serves it.

    Attributes:
        worker: The worker's name.
        state: Whether the worker has the model loaded.
        reason: Why it could not be loaded, as a sentence; None unless that is its state.
        pending: What the worker was asked to do with the model and has yet to begin, "load" or "unload"; it
            finishes its job first.
    """

    worker: str
    state: DeviceState
    reason: str | None = None
    pending: str | None = None


class ModelStatus(Struct, frozen=True, kw_only=True):
    """A served model as operators see it.

    Attributes:
        id: Its id.
        backend: The backend that runs it; empty if the model is no longer served.
        workers: How many live workers have it.
        paused_at: Since when no worker starts its jobs, by the store's clock; None if they do.
        load_requested_at: Since when it is to be loaded by all workers that serve it; None if it is not.
        load_problem: Why it no longer is, although an operator requested that; None otherwise.
        on_workers: Whether it is loaded, on each live worker that serves it.
    """

    id: str
    backend: str
    workers: int
    paused_at: Moment | None
    load_requested_at: Moment | None = None
    load_problem: str | None = None
    on_workers: Sequence[ModelOnWorker] = ()


class OperationService:
    """Drain workers; pause, load and unload models; and show which are. The audit log records all of it.

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
        """Return the served models, and those paused or to be loaded that are no longer served."""
        paused = (await self._store.operations.held_back()).paused
        requested = await self._store.operations.model_requests()
        workers = await self.workers()
        served = Counter(model for worker in workers for model in worker.models)
        backends = {spec.id: spec.backend for spec in self._registry.specs.values()}
        wanted = {model for model, request in requested.items() if request.load}
        return [
            ModelStatus(
                id=model,
                backend=backends.get(model, ""),
                workers=served[model],
                paused_at=_moment(paused.get(model)),
                load_requested_at=_moment(requested[model].at) if model in wanted else None,
                load_problem=requested[model].problem or None if model in requested else None,
                on_workers=[
                    _on_worker(model, worker, requested.get(model))
                    for worker in workers
                    if _serves(worker, model)
                ],
            )
            for model in (*backends, *sorted((paused.keys() | wanted) - backends.keys()))
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

    async def load_model(self, model: str) -> ModelStatus:
        """Let all workers that serve a model load it, until `unload_model`, and return it.

        They begin at once, or after the job that they run. Those that start later load it as well.

        Raises:
            ModelNotFound: There is no such model.
            ModelNotLoadable: No live worker serves it.
        """
        served = self._resolve(model)
        if not any(_serves(worker, served) for worker in await self.workers()):
            raise ModelNotLoadable(
                f"No live worker serves the model {served}, so none can load it; start one first."
            )
        await self._store.operations.request_model(served, load=True)
        audit.record("model_load_requested", model=served)
        return await self._status(served)

    async def unload_model(self, model: str) -> ModelStatus:
        """Let all workers unload a model once they run no job of it, and return it.

        The next job of it loads it again.

        Raises:
            ModelNotFound: There is no such model, nor is one of this id to be loaded.
        """
        request = (await self._store.operations.model_requests()).get(model)
        is_to_be_loaded = request is not None and request.load
        try:
            served = self._resolve(model)
        except ModelNotFound:  # one that is no longer served can still be unloaded
            if not is_to_be_loaded:
                raise
            served = model
        # Nor is what has become an alias since to be loaded any longer.
        for unloaded in {served, model} if is_to_be_loaded else {served}:
            await self._store.operations.request_model(unloaded, load=False)
        audit.record("model_unload_requested", model=served)
        return await self._status(served)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _serves(worker: WorkerStatus, model: str) -> bool:
    return model in worker.models or model in worker.resting


def _on_worker(model: str, worker: WorkerStatus, request: ModelRequest | None) -> ModelOnWorker:
    if worker.carried_out is None:
        return ModelOnWorker(worker=worker.name, state=DeviceState.UNKNOWN)
    load = worker.loads.get(model)
    waits = request is not None and not request.problem and worker.carried_out.get(model) != request.id
    is_loading = load is not None and load.state == LoadedState.LOADING
    pending = None
    if request is not None and waits and not (request.load and is_loading):
        pending = "load" if request.load else "unload"
    return ModelOnWorker(
        worker=worker.name,
        state=DeviceState(load.state) if load is not None else DeviceState.UNLOADED,
        reason=load.reason or None if load is not None else None,
        pending=pending,
    )


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
