"""A plugin of many models, each with a queue of its own, for workers that serve many at once."""

import os
from pathlib import Path

from msgspec.structs import replace

from framegate.core.models import ModelSpec
from framegate.core.plugins import hookimpl
from tests.support import trouble

COUNT = 100


def model_id(number: int) -> str:
    """Return the name of one of the `COUNT` models."""
    return f"many-{number:03}"


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Return the models: each takes as long for a frame as the prompt says, as the one of `trouble` does."""
    return [replace(trouble.MODEL, id=model_id(number)) for number in range(COUNT)]


def many_models_environ(folder: Path) -> dict[str, str]:
    """Return the environment of processes that have the plugin; ``folder`` is made."""
    info = folder / "many_models-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: many-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[framegate]\nmany_models = {__name__}\n")
    path = os.pathsep.join([str(folder), str(trouble.REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path.rstrip(os.pathsep)}
