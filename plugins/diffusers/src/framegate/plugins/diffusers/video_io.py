"""Read source videos."""

from pathlib import Path

import av
import av.error
from PIL import Image

from framegate.core.errors import GenerationFailed
from framegate.media.images.fitting import fit


def open_video(path: Path | None, width: int, height: int, count: int, fps: float) -> list[Image.Image]:
    """Return ``count`` frames of a video at ``fps``, RGB, cropped to ``width`` × ``height``.

    A video that is too short runs back and forth.

    Raises:
        GenerationFailed: There is no video, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a video, but the job has none.")
    try:
        frames = _resample(path, width, height, count, fps)
    except (av.error.FFmpegError, OSError) as error:
        raise GenerationFailed("The input video can't be read.") from error
    if not frames:
        raise GenerationFailed("The input video has no frames.")
    there_and_back = [*frames, *frames[-2:0:-1]]
    return [there_and_back[index % len(there_and_back)] for index in range(count)]


def _resample(path: Path, width: int, height: int, count: int, fps: float) -> list[Image.Image]:
    """Return at most ``count`` frames, the one shown at each moment."""
    frames: list[Image.Image] = []
    with av.open(path) as container:
        if not container.streams.video:
            return frames
        stream = container.streams.video[0]
        rate = float(stream.average_rate or fps)
        start: float | None = None
        for number, frame in enumerate(container.decode(stream)):
            time = number / rate if frame.pts is None else frame.time
            start = time if start is None else start
            # This frame is shown until the next one.
            until = (time - start + 1 / rate) * fps
            while len(frames) < count and len(frames) < until - 1e-6:
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                frames.append(fit(image.rotate(frame.rotation, expand=True), width, height))
            if len(frames) == count:
                break
    return frames
