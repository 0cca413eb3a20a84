"""Input pictures and videos, cropped to the frame and never stretched."""

from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from framegate.core.errors import GenerationFailed

if TYPE_CHECKING:
    from framegate.core.backend import Frame


def cover(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of ``picture`` that has the frame's shape, at the frame's size."""
    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def frame_of(pixels: NDArray[np.floating], width: int, height: int) -> "Frame":
    """``pixels`` (height × width × 3, in 0…1) at the frame's size: a few pipelines choose one near it."""
    frame: Frame = (pixels * 255).round().astype(np.uint8)
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(cover(Image.fromarray(frame), width, height))


def open_picture(path: Path | None, width: int, height: int) -> Image.Image:
    """A conditioning picture, RGB, at the frame's size.

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


def open_video(path: Path | None, width: int, height: int, count: int, fps: float) -> list[Image.Image]:
    """``count`` frames of a video at ``fps``, RGB; one that is too short runs back and forth.

    Raises:
        GenerationFailed: there is no video, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a video, but the job has none.")
    try:
        frames = _resampled(path, width, height, count, fps)
    except (av.error.FFmpegError, OSError) as error:
        raise GenerationFailed("The input video can't be read.") from error
    if not frames:
        raise GenerationFailed("The input video has no frames.")
    there_and_back = [*frames, *frames[-2:0:-1]]
    return [there_and_back[index % len(there_and_back)] for index in range(count)]


def _resampled(path: Path, width: int, height: int, count: int, fps: float) -> list[Image.Image]:
    """At most ``count`` frames: at each moment the one that is shown then."""
    taken: list[Image.Image] = []
    with av.open(path) as container:
        if not container.streams.video:
            return taken
        stream = container.streams.video[0]
        rate = float(stream.average_rate or fps)
        start: float | None = None
        for number, frame in enumerate(container.decode(stream)):
            time = number / rate if frame.pts is None else frame.time
            start = time if start is None else start
            # This frame is on until the next one comes.
            until = (time - start + 1 / rate) * fps
            while len(taken) < count and len(taken) < until - 1e-6:
                pixels = Image.fromarray(frame.to_ndarray(format="rgb24"))
                taken.append(cover(pixels.rotate(frame.rotation, expand=True), width, height))
            if len(taken) == count:
                break
    return taken
