"""What the models of the config need of a GPU's memory, and how they would be placed on it."""

from collections.abc import Iterable, Mapping, Sequence

import click
from msgspec import Struct

from framegate.cli.devices import find_gpus
from framegate.cli.output import print_json, print_line, print_table
from framegate.core.backend import MemoryPlan
from framegate.core.errors import FramegateError
from framegate.core.models import ModelSpec
from framegate.core.plugins import create_backend

GIB = 2**30
"""Bytes."""
_USABLE = 0.98
"""What of the memory in a card's name programs see; drivers keep some. Where error correction is kept in the
same memory (L4, A10, A40, L40S), it is a sixteenth less: 45 of 48 GB."""


class PlannedModel(Struct, frozen=True):
    """A model and its ``plan``, or the ``reason`` for which there is none."""

    model: str
    plan: MemoryPlan | None = None
    reason: str = ""


def usable_memory(gigabytes: float) -> int:
    """Return the bytes that programs can use on a card with that many gigabytes by its name.

    A card that was found needs no such guess: drivers say what programs can use.
    """
    return int(gigabytes * _USABLE * GIB)


def print_memory(specs: Iterable[ModelSpec], gigabytes: float | None, *, as_json: bool) -> None:
    """Print the plans of ``specs`` for a card of that size, by default this host's first GPU.

    Raises:
        click.UsageError: This host has no GPU whose memory is known.
    """
    if gigabytes is None:
        memory = next((gpu.memory for gpu in find_gpus() if gpu.memory), 0)
        if not memory:
            raise click.UsageError(
                "no GPU was found on this host; name the memory of one in GB, such as --gpu-memory 24."
            )
        capacity = memory
    else:
        capacity = usable_memory(gigabytes)
    planned = [found for spec in specs if (found := _plan(spec, capacity)) is not None]
    if as_json:
        print_json(planned)
        return
    plans = {each.model: each.plan for each in planned if each.plan is not None}
    _print_plans(plans)
    for model, plan in plans.items():
        if plan.largest is not None:
            print_line(f"{model}: {_of_the_largest(plan, plan.largest)}")
    for each in planned:
        if each.plan is None:
            print_line(f"{each.model}: {each.reason}")
    if plans:
        print_line(
            f"GiB on a GPU with {capacity / GIB:.1f} usable. Each phase: what is on the GPU (of it: what the "
            "shot takes beside the weights)."
        )


def _plan(spec: ModelSpec, capacity: int) -> PlannedModel | None:
    """Return the plan of a model, or the reason for having none; None for one that takes no GPU."""
    try:
        plan = create_backend(spec).plan_memory(capacity)
    except FramegateError as error:
        return PlannedModel(spec.id, reason=error.message)
    except Exception as error:
        return PlannedModel(spec.id, reason=f"its memory can't be planned: {type(error).__name__}: {error}")
    return PlannedModel(spec.id, plan) if plan is not None else None


def _print_plans(plans: Mapping[str, MemoryPlan]) -> None:
    phases = list(dict.fromkeys(phase for plan in plans.values() for phase in plan.phases))
    print_table(
        ["MODEL", "SIZE", "WEIGHTS", *(phase.upper() for phase in phases), "PEAK", "OFFLOAD"],
        [[model, *_row(plan, phases)] for model, plan in plans.items()],
        empty="No model here uses a GPU's memory that is known.",
    )


def _of_the_largest(plan: MemoryPlan, largest: MemoryPlan) -> str:
    """Return what becomes of the largest shot that may be asked for."""
    offload = largest.offload + (f", {largest.note}" if largest.note else "")
    needs = f"its largest shot, {largest.size}, takes {_gib(largest.peak)} GiB"
    if not largest.fits:
        return f"{needs} even with offload {offload}, so it does not fit."
    if largest.offload == plan.offload:
        return f"{needs} with offload {offload}."
    return f'{needs} with offload {offload}, which a job of that size is given by offload = "auto".'


def _row(plan: MemoryPlan, phases: Sequence[str]) -> Iterable[str]:
    yield str(plan.size)
    largest_first = sorted(plan.weights.items(), key=lambda each: (-each[1], each[0]))
    yield ", ".join(f"{name} {_gib(size)}" for name, size in largest_first)
    for phase in phases:
        yield f"{_gib(plan.phases.get(phase, 0))} ({_gib(plan.activations.get(phase, 0))})"
    yield _gib(plan.peak)
    yield plan.offload + (f", {plan.note}" if plan.note else "") + ("" if plan.fits else ": does not fit")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
