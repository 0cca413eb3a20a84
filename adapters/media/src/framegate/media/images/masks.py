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


class MaskedPicture:
    """A picture with its mask, both as files of any size; white in the mask is made anew, black is kept."""

    def __init__(self, picture: Path, mask: Path) -> None:
        with Image.open(picture) as whole, Image.open(mask) as grey:
            self._picture, self._mask = whole.convert("RGB"), grey.convert("L")

    def around(self, frame: "Frame") -> "Frame":
        """``frame`` (uint8, height × width × 3) where the mask is white, the picture where it is black."""
        return np.asarray(self._composed(Image.fromarray(frame)))

    def around_file(self, path: Path) -> None:
        """The same with a picture file, which is replaced."""
        with Image.open(path) as made:
            kind = made.format
            composed = self._composed(made.convert("RGB"))
        composed.save(path, kind)

    def _composed(self, made: Image.Image) -> Image.Image:
        return Image.composite(made, fit(self._picture, *made.size), fit(self._mask, *made.size))
