"""Input pictures and videos, cropped to the frame and never stretched."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from framegate.core.errors import GenerationFailed

_REVERSED_BYTES = 96 * 1024 * 1024
"""How much may be held while a video is read backwards."""


def cover(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of ``picture`` that has the frame's shape, at the frame's size."""
    if picture.size == (width, height):
        return picture
    scale = max(width / picture.width, height / picture.height)
    crop_width, crop_height = width / scale, height / scale
    left, top = (picture.width - crop_width) / 2, (picture.height - crop_height) / 2
    box = (left, top, min(left + crop_width, picture.width), min(top + crop_height, picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def open_picture(path: Path | None, width: int, height: int) -> Image.Image:
    """The conditioning picture, RGB, at the frame's size.

    Raises:
        GenerationFailed: there is none, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a picture, but the job has none.")
    try:
        with Image.open(path) as picture:
            return cover(picture.convert("RGB"), width, height)
    except (OSError, ValueError) as error:
        raise GenerationFailed("The input picture can't be read.") from error


def resampled(path: Path | None, width: int, height: int, count: int, fps: float) -> Iterator[Image.Image]:
    """``count`` frames of a video at ``fps``; one that is too short runs back and forth.

    Raises:
        GenerationFailed: there is no video, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a video, but the job has none.")
    try:
        timeline = _back_and_forth(path, width, height)
        _, shown = next(timeline)
        following = next(timeline, None)
        for index in range(count):
            now = index / fps + 1e-6
            while following is not None and following[0] <= now:
                shown = following[1]
                following = next(timeline, None)
            yield shown
    except StopIteration:
        raise GenerationFailed("The input video has no frames.") from None
    except (av.error.FFmpegError, OSError) as error:
        raise GenerationFailed("The input video can't be read.") from error


def _back_and_forth(path: Path, width: int, height: int) -> Iterator[tuple[float, Image.Image]]:
    """Frames with their times, forward, then backward, then forward … without end."""
    times: list[float] = []
    for time, frame in _decoded(path):
        if times and time <= times[-1]:
            continue
        times.append(time)
        yield time - times[0], cover(_upright(frame), width, height)
    if len(times) < 2:
        return
    steps = [later - earlier for earlier, later in pairwise(times)]
    clock = times[-1] - times[0]
    chunk = max(4, _REVERSED_BYTES // (width * height * 4))
    while True:
        for end in range(len(times) - 1, 0, -chunk):
            start = max(0, end - chunk)
            for offset, picture in reversed(list(_between(path, times, start, end, width, height))):
                clock += steps[offset]
                yield clock, picture
        for offset, picture in _between(path, times, 1, len(times), width, height):
            clock += steps[offset - 1]
            yield clock, picture


def _between(
    path: Path, times: list[float], start: int, end: int, width: int, height: int
) -> Iterator[tuple[int, Image.Image]]:
    """The frames number ``start`` to ``end`` - 1, with their numbers."""
    number = start
    for time, frame in _decoded(path, times[start]):
        if time < times[number]:
            continue
        yield number, cover(_upright(frame), width, height)
        number += 1
        if number == end:
            return


def _decoded(path: Path, since: float = 0.0) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their times in seconds, from a key frame at or before ``since``."""
    with av.open(path) as container:
        if not container.streams.video:
            return
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        if since > 0.0 and stream.time_base:
            container.seek(int(since / stream.time_base), stream=stream)
        reached = since <= 0.0
        for number, frame in enumerate(container.decode(stream)):
            time = number / rate if frame.pts is None else frame.time
            if not reached and (frame.pts is None or time > since):
                break
            reached = True
            yield time, frame
    if not reached:
        yield from _decoded(path)


def _upright(frame: VideoFrame) -> Image.Image:
    pixels = frame.to_ndarray(format="rgb24")
    return Image.fromarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
