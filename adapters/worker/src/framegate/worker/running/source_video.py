"""The video that a job extends, as the beginning of its result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framegate.core.backend import Audio
from framegate.core.types import Shot
from framegate.media.video.audio import read_sound
from framegate.media.video.conform import ConformedVideo
from framegate.media.video.encode import VideoEncoder, encode_png
from framegate.media.video.join import Part

if TYPE_CHECKING:
    from framegate.core.backend import Frame


class SourceVideo:
    """The video at ``path`` in the size and at the rate of the ``shot`` that goes on from it.
    ``check_cancelled`` is called with every frame."""

    def __init__(self, path: Path, shot: Shot, check_cancelled: Callable[[], None]) -> None:
        self._video = ConformedVideo(path, width=shot.width, height=shot.height, fps=shot.fps)
        self._shot = shot
        self._check_cancelled = check_cancelled

    @property
    def seconds(self) -> float:
        return self._video.num_frames / self._shot.fps

    def frames(self) -> "Iterator[Frame]":
        for frame in self._video.frames():
            self._check_cancelled()
            yield frame

    def sound(self) -> Audio | None:
        """In stereo at 48 kHz. None where it has none."""
        return read_sound(self._video.path)

    def write_last_frame(self, path: Path) -> Path:
        """Write the picture that the first shot starts from; ``path``."""
        encode_png(self._video.last_frame(), path)
        return path

    def part(self, path: Path) -> Part:
        """The video as a file to be joined with those of the shots, written to ``path`` if it must be."""
        if self._video.as_it_is:
            return Part(self._video.path)
        shot = self._shot
        with VideoEncoder(path, width=shot.width, height=shot.height, fps=shot.fps) as encoder:
            for frame in self.frames():
                encoder.write(frame)
            encoder.finish(self.sound())
        return Part(path)
