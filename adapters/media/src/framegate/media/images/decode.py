"""Decode untrusted images, which become plain PNGs."""

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from typing import NoReturn

from msgspec import Struct
from PIL import Image, UnidentifiedImageError, features

from framegate.core.errors import InvalidMedia
from framegate.media.images.jpeg_scans import check_scans
from framegate.media.images.srgb import to_srgb

MAX_PIXELS = 50_000_000
MAX_SIDE = 4096
MIN_SIDE = 16

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF") + (("AVIF",) if features.check("avif") else ())
FORMAT_NAMES = "PNG, JPEG, WebP, GIF, BMP, TIFF" + (" or AVIF" if "AVIF" in FORMATS else "")

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow checks sizes as soon as it has read a header, but up to twice the limit it would only warn.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


class PngImage(Struct, frozen=True):
    """An upright image as a PNG file that holds nothing but its pixels."""

    data: bytes
    width: int
    height: int


def decode_image(data: bytes) -> PngImage:
    """Decode an image: upright, on white, in sRGB, with at most `MAX_SIDE` pixels a side.

    Of an animation, the first frame is decoded.

    Raises:
        InvalidMedia: The data is not a valid image, or is damaged, too small, or too large to decode safely.
    """
    with open_untrusted(data) as image:
        rgb = _plain_rgb(image)
        png = encode_plain_png(rgb)
    return PngImage(png, rgb.width, rgb.height)


def encode_plain_png(image: Image.Image) -> bytes:
    """Encode an image as PNG, quickly."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@contextmanager
def open_untrusted(data: bytes) -> Generator[Image.Image]:
    """Open an image without decoding it, and translate whatever goes wrong with it in the block.

    Raises:
        InvalidMedia: The data is not a valid image, or is damaged, or has more than `MAX_PIXELS` pixels.
        MemoryError: There is not enough memory to decode it.
    """
    check_scans(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            yield image
    except (InvalidMedia, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _refuse_pixels(int(re.findall(r"\d+", str(error))[0]))
    except UnidentifiedImageError:
        raise InvalidMedia(f"This is not an image that can be read ({FORMAT_NAMES}).") from None
    except Exception as error:  # Pillow's decoders raise all kinds of errors for damaged files
        raise InvalidMedia("This image is damaged or incomplete.") from error


def _plain_rgb(image: Image.Image) -> Image.Image:
    size = _fitted(*image.size)
    if size != image.size:
        image.draft(image.mode, size)
    image.load()
    transpose = orientation(image)
    rgb = scale(to_srgb(image), size)
    if transpose is not None:
        rgb = rgb.transpose(transpose)
    rgb.info.clear()
    return rgb


def orientation(image: Image.Image) -> Image.Transpose | None:
    """Return what turns the image upright according to its EXIF block; None if it is upright already."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block is no reason to refuse the image
        return None


def scale(image: Image.Image, size: tuple[int, int] | None = None) -> Image.Image:
    """Resize the image to ``size``, by default the size to which images of its size are decoded."""
    size = size or _fitted(*image.size)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _fitted(width: int, height: int) -> tuple[int, int]:
    """Return the size to decode to, with no side above `MAX_SIDE`."""
    if width * height > MAX_PIXELS:
        _refuse_pixels(width * height)
    scale = min(1.0, MAX_SIDE / max(width, height))
    fitted = (round(width * scale), round(height * scale))
    if min(fitted) < MIN_SIDE:
        raise InvalidMedia(
            f"This image is {width}×{height} pixels; it needs at least {MIN_SIDE} on each side"
            + ("." if scale == 1.0 else f" once its longer side is scaled to {MAX_SIDE}.")
        )
    return fitted


def _refuse_pixels(count: int) -> NoReturn:
    raise InvalidMedia(
        f"This image has {count / 1e6:.0f} megapixels; at most {MAX_PIXELS / 1e6:.0f} are accepted."
    )
