"""A plugin whose model takes hardly any time at any size: every frame is one grey, which the seed chooses.

`flat_environ` installs it for the processes of a server.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.models import Defaults, ModelSpec
from framegate.core.plugins import hookimpl
from framegate.core.types import Shot, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


REPOSITORY = Path(__file__).parents[2]


class FlatBackend(Backend):
    """Frames of the size, number and rate that are asked for."""

    def load(self, device: str) -> None:
        return

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        return FrameStream(self._frames(shot, context))

    def _frames(self, shot: Shot, context: GenerationContext) -> "Iterator[NDArray[np.uint8]]":
        import numpy as np

        frame = np.full((shot.height, shot.width, 3), shot.seed % 256, np.uint8)
        for number in range(1, shot.num_frames + 1):
            yield frame
            context.report(number, shot.num_frames, "drawing")


@hookimpl
def framegate_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            id="flat",
            summary="One grey.",
            backend=f"{__name__}:FlatBackend",
            tasks=frozenset(Task),
            defaults=Defaults(width=128, height=96, fps=24.0, num_frames=25),
        )
    ]


def flat_environ(folder: Path) -> dict[str, str]:
    """The environment of processes that have the plugin; ``folder`` is made."""
    info = folder / "flat-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flat\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[framegate]\nflat = {__name__}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}
