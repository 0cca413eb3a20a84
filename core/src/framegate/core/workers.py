"""Live workers as operators see them: what each is called, and whether it takes jobs."""

from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum

from framegate.core.ports import HeldBack, WorkerInfo


class WorkerState(StrEnum):
    """What a live worker does. One that is drained takes no jobs; one that is draining still runs one."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    DRAINED = "drained"


class WorkerStatus(WorkerInfo, frozen=True, kw_only=True):
    """A live worker as operators see it.

    ``name`` is HOST/DEVICE, with the process id behind it where several workers share these; ``drained_by``
    are the names by which it is drained.
    """

    name: str
    state: WorkerState
    drained_by: tuple[str, ...] = ()


def worker_names(host: str, device: str) -> tuple[str, str]:
    """Return the names that a worker may share with others: those by which its host or device is drained."""
    return host, f"{host}/{device}"


def describe_workers(workers: Sequence[WorkerInfo], drained: Collection[str]) -> Sequence[WorkerStatus]:
    """Return the status of live workers, given the names that are drained."""
    shared = Counter(worker_names(info.host, info.device)[1] for info in workers)
    found: list[WorkerStatus] = []
    for info in workers:
        host, device = worker_names(info.host, info.device)
        drained_by = tuple(name for name in (host, device, info.id) if name in drained)
        busy = bool(info.job)
        if drained_by:
            state = WorkerState.DRAINING if busy else WorkerState.DRAINED
        else:
            state = WorkerState.BUSY if busy else WorkerState.IDLE
        found.append(
            WorkerStatus(
                **{name: getattr(info, name) for name in info.__struct_fields__},
                name=device if shared[device] == 1 else f"{device}/{info.pid}",
                state=state,
                drained_by=drained_by,
            )
        )
    return found


def held_back_findings(held_back: HeldBack, workers: Sequence[WorkerInfo]) -> tuple[str, ...]:
    """Return sentences that say which jobs wait because of an operator, given the live workers."""
    found = [f"The model {model} is paused; its jobs wait." for model in sorted(held_back.paused)]
    described = describe_workers(workers, held_back.drained)
    served = {model for worker in described for model in worker.models} - held_back.paused.keys()
    active = {model for worker in described if not worker.drained_by for model in worker.models}
    if idle := sorted(served - active):
        found.append(f"All workers that serve {', '.join(idle)} are drained; the jobs wait.")
    return tuple(found)
