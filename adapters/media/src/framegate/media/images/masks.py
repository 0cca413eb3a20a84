"""Masks: which part of a picture is to be made anew, and what that means where the model makes it whole."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import DecodedImage, opened, scaled
from framegate.media.images.fitting import fit

if TYPE_CHECKING:
    from framegate.core.backend import Frame

KEPT, ANEW = 0, 255


def mask_of(data: bytes) -> DecodedImage:
    """The mask in the transparency of a picture: a greyscale one, white where that is transparent, black
    where it is not.

    Raises:
        InvalidMedia: it is no picture, or has nothing transparent.
    """
    with opened(data) as image:
        if not image.has_transparency_data:
            raise InvalidMedia("The mask has no transparency: what is transparent in it is to be edited.")
        image.load()
        mask = ImageOps.invert(scaled(image.convert("RGBA").getchannel("A")))
        if mask.getextrema() == (KEPT, KEPT):
            raise InvalidMedia("Nothing of the mask is transparent: there is nothing to be edited.")
        buffer = BytesIO()
        mask.save(buffer, "PNG", compress_level=1)
    return DecodedImage(buffer.getvalue(), mask.width, mask.height)


class MaskedImage:
    """An input image with its mask, files of any size: white parts are to be redrawn, black ones are kept."""

    def __init__(self, image: Path, mask: Path) -> None:
        with Image.open(image) as opened_image, Image.open(mask) as opened_mask:
            self._image, self._mask = opened_image.convert("RGB"), opened_mask.convert("L")

    def composite(self, frame: "Frame") -> "Frame":
        """Return ``frame`` (uint8, height × width × 3) where the mask is white, else the input image."""
        return np.asarray(self._composite(Image.fromarray(frame)))

    def composite_file(self, path: Path) -> None:
        """Replace an image file by its composite, in the same format."""
        with Image.open(path) as redrawn:
            file_format = redrawn.format
            composite = self._composite(redrawn.convert("RGB"))
        composite.save(path, file_format)

    def _composite(self, redrawn: Image.Image) -> Image.Image:
        return Image.composite(redrawn, fit(self._image, *redrawn.size), fit(self._mask, *redrawn.size))
