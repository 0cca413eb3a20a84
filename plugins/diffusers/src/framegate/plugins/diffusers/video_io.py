"""Read source videos."""

from itertools import islice
from pathlib import Path

from PIL import Image

from framegate.core.errors import GenerationFailed, InvalidMedia
from framegate.media.video.conform import ConformedVideo


def read_source_video(
    path: Path | None, width: int, height: int, count: int, fps: float
) -> list[Image.Image]:
    """Return ``count`` frames of a video at ``fps``, RGB, cropped to ``width`` × ``height``.

    A video that is too short runs back and forth.

    Raises:
        GenerationFailed: There is no video, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a video, but the job has none.")
    try:
        video = ConformedVideo(path, width=width, height=height, fps=fps)
        frames = [Image.fromarray(frame) for frame in islice(video.frames(), count)]
    except (InvalidMedia, OSError) as error:
        raise GenerationFailed("The input video can't be read.") from error
    there_and_back = [*frames, *frames[-2:0:-1]]
    return [there_and_back[index % len(there_and_back)] for index in range(count)]
