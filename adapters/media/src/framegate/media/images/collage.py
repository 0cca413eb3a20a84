"""Several pictures side by side, for models that take one."""

from collections.abc import Sequence
from io import BytesIO

from msgspec import Struct
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import MAX_SIDE, MIN_SIDE, decode_image
from framegate.media.images.masks import KEPT, mask_of


class Collage(Struct, frozen=True):
    """PNGs of the same size."""

    picture: bytes
    mask: bytes | None


def make_collage(pictures: Sequence[bytes], mask: bytes | None) -> Collage:
    """``pictures`` from left to right, all as high as the first, or lower where they would get too wide. The
    ``mask`` is the first's; the others are kept as they are.

    Raises:
        InvalidMedia: one of them is no picture, the mask is not as large as the first, or there is no room.
    """
    decoded = [decode_image(data) for data in pictures]
    height = decoded[0].height
    across = sum(picture.width * height / picture.height for picture in decoded)
    height = int(height * min(1.0, MAX_SIDE / across))
    if height < MIN_SIDE:
        raise InvalidMedia(f"Side by side on {MAX_SIDE} pixels these pictures would be only {height} high.")
    widths = [max(1, int(picture.width * height / picture.height)) for picture in decoded]
    canvas = Image.new("RGB", (sum(widths), height))
    left = 0
    for picture, width in zip(decoded, widths, strict=True):
        canvas.paste(_resized(picture.png, (width, height)), (left, 0))
        left += width
    if mask is None:
        return Collage(_png(canvas), None)
    first = mask_of(mask)
    if (first.width, first.height) != (decoded[0].width, decoded[0].height):
        raise InvalidMedia("The mask should be as large as the first picture.", param="mask")
    whole = Image.new("L", canvas.size, KEPT)
    whole.paste(_resized(first.png, (widths[0], height)), (0, 0))
    return Collage(_png(canvas), _png(whole))


def _resized(png: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(BytesIO(png)) as picture:
        return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
