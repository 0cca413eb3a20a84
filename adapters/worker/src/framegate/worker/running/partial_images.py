"""Store the images of unfinished work that clients requested."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from framegate.core.errors import Unavailable
from framegate.core.jobs import Job
from framegate.core.ports import ArtifactStore
from framegate.media.video.encode import encode_png

if TYPE_CHECKING:
    from framegate.core.backend import Frame


class PartialImages:
    """Store the partial images of a job, at most as many as were requested."""

    def __init__(self, artifacts: ArtifactStore, job: Job, workdir: Path) -> None:
        self._artifacts = artifacts
        self._keys = job.partial_image_keys
        self._workdir = workdir
        self._count = 0

    @property
    def requested(self) -> int:
        """How many partial images the job's client requested."""
        return len(self._keys)

    def store(self, render: "Callable[[], Frame]") -> bool:
        """Store the next image unless all were made; return whether one was stored."""
        if self._count >= self.requested:
            return False
        path = self._workdir / f"partial-{self._count}.png"
        encode_png(render(), path)
        try:
            self._artifacts.put(path, self._keys[self._count])
        except Unavailable:  # a job doesn't wait for the sake of a partial image
            return False
        self._count += 1
        return True
