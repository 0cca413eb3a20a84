"""Input images and videos, cropped to the frame and never stretched."""

from pathlib import Path

import av
import av.error
from PIL import Image, ImageOps

from framegate.core.errors import GenerationFailed


def cover(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the middle of ``image`` that has the frame's shape, at the frame's size."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def open_image(path: Path | None, width: int, height: int) -> Image.Image:
    """Return a conditioning image, RGB, at the frame's size.

    Raises:
        GenerationFailed: There is none, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from an image, but the job has none.")
    try:
        with Image.open(path) as image:
            return cover(image.convert("RGB"), width, height)
    except (OSError, ValueError) as error:
        raise GenerationFailed("The input image can't be read.") from error


def open_video(path: Path | None, width: int, height: int, count: int, fps: float) -> list[Image.Image]:
    """Return ``count`` frames of a video at ``fps``, RGB; a video that is too short runs back and forth.

    Raises:
        GenerationFailed: There is no video, or it can't be read.
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
    """At most ``count`` frames, the one shown at each moment."""
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
            # This frame is shown until the next one.
            until = (time - start + 1 / rate) * fps
            while len(taken) < count and len(taken) < until - 1e-6:
                pixels = Image.fromarray(frame.to_ndarray(format="rgb24"))
                taken.append(cover(pixels.rotate(frame.rotation, expand=True), width, height))
            if len(taken) == count:
                break
    return taken
