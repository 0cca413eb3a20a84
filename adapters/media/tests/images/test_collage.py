"""Several images as one."""

import io

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.collage import make_collage


def as_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def as_pixels(png: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def left_half(size: tuple[int, int]) -> Image.Image:
    """Transparent on its left."""
    mask = Image.new("RGBA", size, (255, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return mask


def test_a_collage() -> None:
    pictures = [
        as_bytes(Image.new("RGB", size, colour))
        for size, colour in (((100, 50), "red"), ((40, 40), "lime"), ((60, 120), "blue"))
    ]
    white = Image.new("L", (25, 25), 0)
    white.paste(255, (0, 0, 13, 25))
    plain = make_collage(pictures, None)
    assert plain.mask is None
    for given in (left_half((100, 50)), left_half((10, 50)), white):
        collage = make_collage(pictures, as_bytes(given))
        assert collage.image == plain.image
        pixels = as_pixels(collage.image.data)
        assert pixels.shape == (50, 175, 3)
        for column, colour in ((50, (255, 0, 0)), (125, (0, 255, 0)), (165, (0, 0, 255))):
            assert tuple(pixels[25, column]) == colour
        assert collage.mask is not None
        mask = as_pixels(collage.mask.data)
        assert mask.shape == (50, 175)
        assert (mask[:, :45] == 255).all()
        assert (mask[:, 55:] == 0).all()
    for broken in (b"not an image", as_bytes(Image.new("L", (100, 50)))):
        with pytest.raises(InvalidMedia) as refused:
            make_collage(pictures, broken)
        assert refused.value.param == "mask"


def test_a_collage_is_never_too_wide() -> None:
    for size in ((3000, 300), (517, 33), (1000, 1000)):
        picture = as_bytes(Image.new("RGB", size))
        pixels = as_pixels(make_collage([picture] * 15, None).image.data)
        assert 3900 < pixels.shape[1] <= 4096
    with pytest.raises(InvalidMedia, match="high"):
        make_collage([as_bytes(Image.new("RGB", (3000, 30)))] * 16, None)
