"""Put several images side by side, for models that take one."""

from collections.abc import Sequence
from io import BytesIO

from msgspec import Struct
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import MAX_SIDE, MIN_SIDE, PngImage, decode_image, encode_plain_png
from framegate.media.images.masks import KEPT, normalize_mask


class Collage(Struct, frozen=True):
    """An image and its mask, PNGs of the same size."""

    image: PngImage
    mask: PngImage | None


def make_collage(images: Sequence[bytes], mask: bytes | None) -> Collage:
    """Put ``images`` side by side from left to right, scaled to the height of the first.

    Where they would get wider than `MAX_SIDE`, all are scaled down. The ``mask``, of either kind that
    `normalize_mask` reads, belongs to the first image; the others are kept as they are.

    Raises:
        InvalidMedia: An image or the mask can't be decoded, or there is no room.
    """
    decoded = [decode_image(data) for data in images]
    height = decoded[0].height
    total_width = sum(image.width * height / image.height for image in decoded)
    height = int(height * min(1.0, MAX_SIDE / total_width))
    if height < MIN_SIDE:
        raise InvalidMedia(
            f"Side by side in {MAX_SIDE} pixels, these images would be only {height} pixels high; use fewer."
        )
    widths = [max(1, int(image.width * height / image.height)) for image in decoded]
    canvas = Image.new("RGB", (sum(widths), height))
    left = 0
    for image, width in zip(decoded, widths, strict=True):
        canvas.paste(_resized(image.data, (width, height)), (left, 0))
        left += width
    image = _png(canvas)
    if mask is None:
        return Collage(image, None)
    try:
        first_mask = normalize_mask(mask, widths[0], height)
    except InvalidMedia as error:
        error.param = "mask"
        raise
    whole_mask = Image.new("L", canvas.size, KEPT)
    with Image.open(BytesIO(first_mask.data)) as part:
        whole_mask.paste(part, (0, 0))
    return Collage(image, _png(whole_mask))


def _png(image: Image.Image) -> PngImage:
    return PngImage(encode_plain_png(image), image.width, image.height)


def _resized(png: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(BytesIO(png)) as image:
        return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
