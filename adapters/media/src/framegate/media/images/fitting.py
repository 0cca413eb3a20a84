"""Open images in the size of a frame: cropped to its aspect ratio, never stretched."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from framegate.core.errors import GenerationFailed
from framegate.media.images.decode import FORMATS, orientation

if TYPE_CHECKING:
    from framegate.core.backend import Frame


def open_image(path: Path | None, width: int, height: int) -> Image.Image:
    """Open a job's input image, upright and RGB, and fit it to ``width`` × ``height``.

    Raises:
        GenerationFailed: There is no image, it has too many pixels, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from an image, but the job has none.")
    try:
        with Image.open(path, formats=FORMATS) as image:
            transpose = orientation(image)
            upright = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GenerationFailed("The input image can't be read.") from error
    if transpose is not None:
        upright = upright.transpose(transpose)
    return fit(upright, width, height)


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Crop ``image`` around its centre to the ratio of ``width`` × ``height``, and resize it to that size."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def fit_frame(frame: "Frame", width: int, height: int) -> "Frame":
    """Fit a frame (uint8, height × width × 3) as `fit` does an image."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(fit(Image.fromarray(frame), width, height), dtype=np.uint8)
