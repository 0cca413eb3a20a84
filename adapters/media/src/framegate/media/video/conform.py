"""A stranger's video in the size and at the rate of another."""

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

EARLY = 0.25
"""The part of a frame's time that it may come too late by: files round their times."""


class ConformedVideo:
    """A video file as it would be with ``width``×``height`` pixels, cropped and never stretched, and ``fps``
    frames a second.

    Raises:
        InvalidMedia: it is no video, or damaged.
    """

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        info = describe_video(path)
        self.path = path
        self.num_frames = max(1, round(info.duration * fps))
        self.as_it_is = (info.width, info.height, info.fps) == (width, height, fps)
        self._size = width, height
        self._fps = fps

    def frames(self) -> "Iterator[Frame]":
        """Exactly ``num_frames``."""
        with open_video(self.path) as (container, stream):
            timeline = _timeline(container.decode(stream))
            shown = next(timeline)[1]
            following = next(timeline, None)
            picture = self._fitted(to_rgb(shown))
            for number in range(self.num_frames):
                fresh = False
                while following is not None and following[0] <= (number + EARLY) / self._fps:
                    shown, fresh = following[1], True
                    following = next(timeline, None)
                picture = self._fitted(to_rgb(shown)) if fresh else picture
                yield picture

    def last_frame(self) -> "Frame":
        """The last of `frames`."""
        return self._fitted(frame_at(self.path, (self.num_frames - 1 + EARLY) / self._fps))

    def _fitted(self, frame: "Frame") -> "Frame":
        return fit_frame(frame, *self._size)


def _timeline(frames: Iterator[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their seconds after the first one."""
    start: float | None = None
    for frame in frames:
        if frame.pts is not None:
            start = frame.time if start is None else start
            yield frame.time - start, frame
