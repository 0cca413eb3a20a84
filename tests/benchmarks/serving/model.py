"""A plugin whose model takes no time: it hands over files that are ready, and sleeps if the prompt says so.

The prompt ``sleep 60`` takes 60 seconds and reports its progress five times in each; ``bytes 1000000`` makes
the video as large as that at least.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from framegate.core.backend import Backend, FinishedFile, GenerationContext, Output
from framegate.core.models import Defaults, ModelSpec
from framegate.core.plugins import hookimpl
from framegate.core.types import MediaKind, Shot, Task

REPOSITORY = Path(__file__).parents[3]
NAME = "ready"
REPORTS_PER_SECOND = 5
_SIDE, _FRAMES, _FPS = 64, 8, 8.0
_BOX_HEAD = 8


class ReadyBackend(Backend):
    """Hand over a small MP4, or a PNG."""

    _video: bytes
    _image: bytes

    def load(self, device: str) -> None:
        """Make the files."""
        import tempfile

        import numpy as np

        from framegate.media.video.encode import VideoEncoder, encode_png

        frame = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            video, image = Path(folder) / "ready.mp4", Path(folder) / "ready.png"
            with VideoEncoder(video, width=_SIDE, height=_SIDE, fps=_FPS) as encoder:
                for _ in range(_FRAMES):
                    encoder.write(frame)
                encoder.finish()
            encode_png(frame, image)
            self._video, self._image = video.read_bytes(), image.read_bytes()

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        """Write a ready file."""
        what, _, argument = shot.prompt.partition(" ")
        if what == "sleep":
            sleep(float(argument.split()[0]), context.report)
        if shot.task in (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE):
            path = context.workdir / "ready.png"
            path.write_bytes(self._image)
            return [FinishedFile(path, MediaKind.IMAGE)]
        path = context.workdir / "ready.mp4"
        with path.open("wb") as file:
            file.write(self._video)
            if what == "bytes":
                size = max(_BOX_HEAD, int(argument.split()[0]) - len(self._video))
                file.write(size.to_bytes(4, "big") + b"free" + bytes(size - _BOX_HEAD))
        return [FinishedFile(path, MediaKind.VIDEO)]


def sleep(seconds: float, report: Callable[[int, int], object]) -> None:
    """Sleep in as many parts as there are reports of progress."""
    steps = max(1, round(seconds * REPORTS_PER_SECOND))
    for step in range(1, steps + 1):
        time.sleep(seconds / steps)
        report(step, steps)


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Return the model."""
    return [
        ModelSpec(
            id=NAME,
            summary="Files that are ready.",
            backend=f"{__name__}:ReadyBackend",
            tasks=frozenset(Task),
            defaults=Defaults(width=_SIDE, height=_SIDE, fps=_FPS, num_frames=_FRAMES),
        )
    ]


def ready_environ(folder: Path) -> dict[str, str]:
    """Return the environment of processes that have the plugin; ``folder`` is made."""
    info = folder / "ready-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ready\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[framegate]\nready = {__name__}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}
