"""Masks say which part of an image is to be redrawn, and keep the rest where a model redraws all of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import PngImage, encode_plain_png, open_untrusted, orientation
from framegate.media.images.fitting import fit
from framegate.media.images.srgb import to_srgb

if TYPE_CHECKING:
    from framegate.core.backend import Frame

KEPT, REDRAWN = 0, 255

_NOISE = 16
"""JPEG leaves black and white areas this far from black and white."""


def normalize_mask(data: bytes, width: int, height: int, *, ignore_alpha: bool = False) -> PngImage:
    """Return a greyscale mask of ``width`` × ``height`` pixels: white is redrawn, black is kept.

    Clients send masks of two kinds. One that is transparent anywhere is OpenAI's: its transparent part is
    redrawn. In every other mask, and with ``ignore_alpha`` in each one, the white part is redrawn. A mask may
    have any size and is stretched to the image's.

    Raises:
        InvalidMedia: The data is not a valid image, or nothing of it is to be redrawn.
    """
    with open_untrusted(data) as image:
        image.load()
        mask = _from_brightness(image) if ignore_alpha else _from_alpha(image) or _from_brightness(image)
        if mask.getextrema() == (KEPT, KEPT):
            raise InvalidMedia(
                "The mask marks nothing to edit: make that area transparent, or white in a mask without "
                "transparency."
            )
        transpose = orientation(image)
        if transpose is not None:
            mask = mask.transpose(transpose)
        # A box leaves the edges of a small mask sharp, and no thin line of a large one is lost.
        mask = mask.resize((width, height), Image.Resampling.BOX)
        png = encode_plain_png(mask)
    return PngImage(png, width, height)


def _from_alpha(image: Image.Image) -> Image.Image | None:
    """Return the mask that an image's transparency is; None for an opaque image."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else ImageOps.invert(alpha)


def _from_brightness(image: Image.Image) -> Image.Image:
    levels = [
        KEPT if level <= _NOISE else REDRAWN if level >= 255 - _NOISE else level for level in range(256)
    ]
    if image.has_transparency_data:
        painted = image.convert("RGBA")
        image = Image.new("RGB", painted.size)
        image.paste(painted, mask=painted.getchannel("A"))  # what nobody has painted is black
    return to_srgb(image).convert("L").point(levels)


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
