"""Convert a video to the size and frame rate of another."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from av.video.frame import VideoFrame

from framegate.media.images.fitting import fit_frame
from framegate.media.video.color import to_rgb
from framegate.media.video.containers import open_video
from framegate.media.video.frames import frame_at
from framegate.media.video.probe import describe_video

if TYPE_CHECKING:
    from framegate.core.backend import Frame

LATE_TOLERANCE = 0.25
"""How late a frame may be, as a fraction of its duration, and still count: files round their times."""


class ConformedVideo:
    """A video file with ``width`` × ``height`` pixels, cropped and never stretched, at ``fps``.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        info = describe_video(path)
        self.path = path
        self.num_frames = max(1, round(info.duration * fps))
        self._size = width, height
        self._fps = fps

    def frames(self) -> "Iterator[Frame]":
        """Yield exactly ``num_frames`` frames."""
        with open_video(self.path) as (container, stream):
            timeline = _timeline(container.decode(stream))
            shown = next(timeline)[1]
            following = next(timeline, None)
            frame = self._fitted(to_rgb(shown))
            for number in range(self.num_frames):
                fresh = False
                while following is not None and following[0] <= (number + LATE_TOLERANCE) / self._fps:
                    shown, fresh = following[1], True
                    following = next(timeline, None)
                frame = self._fitted(to_rgb(shown)) if fresh else frame
                yield frame

    def last_frame(self) -> "Frame":
        """Return the last of `frames`, without decoding the others."""
        return self._fitted(frame_at(self.path, (self.num_frames - 1 + LATE_TOLERANCE) / self._fps))

    def _fitted(self, frame: "Frame") -> "Frame":
        return fit_frame(frame, *self._size)


def _timeline(frames: Iterator[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
    """Yield frames with their time, in seconds after the first one."""
    start: float | None = None
    for frame in frames:
        if frame.pts is not None:
            start = frame.time if start is None else start
            yield frame.time - start, frame
