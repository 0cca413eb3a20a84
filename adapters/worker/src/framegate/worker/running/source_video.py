"""Put the video that a job extends at the beginning of its result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from framegate.core.types import Shot
from framegate.media.video.audio import AudioTrack, read_track
from framegate.media.video.conform import ConformedVideo
from framegate.media.video.encode import encode_png
from framegate.media.video.join import Clip

if TYPE_CHECKING:
    from framegate.core.backend import Frame


class SourceVideo:
    """The video at ``path`` in the size and frame rate of the ``shot`` that continues it.

    ``check_cancelled`` is called with every frame.
    """

    def __init__(self, path: Path, shot: Shot, check_cancelled: Callable[[], None]) -> None:
        self._video = ConformedVideo(path, width=shot.width, height=shot.height, fps=shot.fps)
        self._shot = shot
        self._check_cancelled = check_cancelled

    def clip(self) -> Clip:
        """Return the whole video as the first clip of the result."""
        shot, video = self._shot, self._video
        seconds = video.num_frames / shot.fps

        def audio() -> AudioTrack:
            return read_track(video.path, seconds=seconds)

        return Clip(self._frames(), audio, shot.width, shot.height, shot.fps, resampled=True)

    def write_last_frame(self, path: Path) -> None:
        """Write the image that the first shot starts from, as PNG."""
        encode_png(self._video.last_frame(), path)

    def _frames(self) -> "Iterator[Frame]":
        for frame in self._video.frames():
            self._check_cancelled()
            yield frame
