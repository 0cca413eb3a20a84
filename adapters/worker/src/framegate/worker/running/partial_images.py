"""PartialImages at unfinished pictures, kept where those who wait for the job find them."""

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
    """As many as the job wants."""

    def __init__(self, artifacts: ArtifactStore, job: Job, workdir: Path) -> None:
        self._artifacts = artifacts
        self._keys = job.partial_image_keys
        self._workdir = workdir
        self._count = 0

    @property
    def wanted(self) -> int:
        """In all."""
        return len(self._keys)

    def keep(self, picture: "Callable[[], Frame]") -> bool:
        """Was it wanted?"""
        if self._count >= self.wanted:
            return False
        path = self._workdir / f"look-{self._count}.png"
        encode_png(picture(), path)
        try:
            self._artifacts.put(path, self._keys[self._count])
        except Unavailable:  # nothing waits for a look
            return False
        self._count += 1
        return True
