"""Masks say which part of an image is to be redrawn, and keep the rest where a model redraws all of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import PngImage, encode_plain_png, open_untrusted, scale
from framegate.media.images.fitting import fit

if TYPE_CHECKING:
    from framegate.core.backend import Frame

KEPT, REDRAWN = 0, 255


def mask_from_alpha(data: bytes) -> PngImage:
    """Return a greyscale mask that is white where an image is transparent, and black where it is opaque.

    Raises:
        InvalidMedia: The data is not a valid image, or nothing of it is transparent.
    """
    with open_untrusted(data) as image:
        if not image.has_transparency_data:
            raise InvalidMedia("The mask has no alpha channel; make the area to edit transparent.")
        image.load()
        mask = ImageOps.invert(scale(image.convert("RGBA").getchannel("A")))
        if mask.getextrema() == (KEPT, KEPT):
            raise InvalidMedia("The mask is fully opaque; make the area to edit transparent.")
        png = encode_plain_png(mask)
    return PngImage(png, mask.width, mask.height)


class MaskedImage:
    """An input image with its mask, files of any size: white parts are to be redrawn, black ones are kept."""

    def __init__(self, image: Path, mask: Path) -> None:
        with Image.open(image) as color, Image.open(mask) as grey:
            self._image, self._mask = color.convert("RGB"), grey.convert("L")

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
