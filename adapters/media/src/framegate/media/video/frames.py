"""Read frames of videos."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framegate.core.errors import InvalidMedia
from framegate.media.video.color import to_rgb
from framegate.media.video.containers import DAMAGED, open_video

if TYPE_CHECKING:
    from framegate.core.backend import Frame

ROUNDING = 1e-6


def read_frames(path: Path) -> "Iterator[Frame]":
    """Yield every frame, upright, RGB.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            yield to_rgb(frame)


def frame_at(path: Path, seconds: float) -> "Frame":
    """Return the frame shown ``seconds`` after the first one appears; the last one at any later time.

    Raises:
        ValueError: ``seconds`` is negative.
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    if not seconds >= 0:
        raise ValueError(f"a time in a video can't be {seconds} s")
    with open_video(path) as (container, stream):
        _seek(container, stream, seconds)
        frame = _frame_shown_at(container.decode(stream), _start(stream) + seconds)
        if frame is not None:
            return to_rgb(frame)
    with open_video(path) as (container, stream):  # its index led to where nothing could be decoded
        frame = _frame_shown_at(container.decode(stream), _start(stream) + seconds)
        if frame is None:
            raise InvalidMedia(DAMAGED)
        return to_rgb(frame)


def frames_between(path: Path, start: float, end: float, *, count: int) -> "Iterator[Frame]":
    """Yield about ``count`` frames, evenly spread over the seconds ``start`` to ``end``, if it has that many.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    pause = (end - start) / count
    with open_video(path) as (container, stream):
        _seek(container, stream, start)
        due = start
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            time = frame.time - _start(stream)
            if time > end + ROUNDING:
                return
            if time >= due - ROUNDING:
                yield to_rgb(frame)
                due = time + pause


def _start(stream: VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _seek(container: InputContainer, stream: VideoStream, seconds: float) -> None:
    """Seek the last key frame before a time, to decode less; stay at the start if that fails."""
    length = (container.duration or 0) / 1e6
    target = min(seconds, length) + _start(stream)
    if seconds > 0 and stream.time_base:
        with suppress(FFmpegError):
            container.seek(int(target / stream.time_base), stream=stream)


def _frame_shown_at(frames: Iterator[VideoFrame], time: float) -> VideoFrame | None:
    shown = None
    for frame in frames:
        if shown is not None and frame.pts is not None and frame.time > time + ROUNDING:
            break
        shown = frame
    return shown
