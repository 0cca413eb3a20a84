"""The table in docs/models.md of what "auto" takes on which GPU; as a program, it prints the table."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from framegate.cli.model_memory import GIB, usable_memory
from framegate.core.backend import MemoryPlan
from tests.support.full_models import FULL_MODELS, FullModel, backend_for

CARDS = (24, 44, 48, 80, 141)


def plans(model: FullModel, folder: Path) -> list[MemoryPlan]:
    """Return the plans of ``model`` for all ``CARDS``."""
    backend = backend_for(model, folder)
    return [backend.plan_memory(usable_memory(gigabytes)) for gigabytes in CARDS]


def choice(plan: MemoryPlan) -> str:
    """Return where the weights are kept, and whether decoding is done in tiles."""
    if not plan.fits:
        return "does not fit"
    return plan.offload + (", tiles" if plan.note else "")


def rows() -> Iterator[str]:
    """Yield the table's lines."""
    cards = " | ".join(f"{card} GB" for card in CARDS)
    yield f"| model | planned for | encode | denoise | decode | {cards} |"
    yield f"|---|---|--:|--:|--:|{'---|' * len(CARDS)}"
    with TemporaryDirectory() as folder:
        for number, model in enumerate(FULL_MODELS):
            of_model = plans(model, Path(folder) / str(number))
            largest = of_model[-1]
            needs = (f"{largest.activations[phase] / GIB:.1f}" for phase in ("encode", "denoise", "decode"))
            chosen = (choice(plan) for plan in of_model)
            yield f"| {model.title} | {largest.size} | {' | '.join((*needs, *chosen))} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # a program's output
