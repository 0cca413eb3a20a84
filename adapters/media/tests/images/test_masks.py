"""Masks from transparency, and images with a mask."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.masks import MaskedImage, mask_from_alpha


def as_bytes(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def as_pixels(png: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def left_half(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Transparent on its left."""
    mask = Image.new("RGBA", size, (255, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return mask


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_gets_white(kind: str) -> None:
    mask = mask_from_alpha(as_bytes(left_half(), kind))
    assert (mask.width, mask.height) == (40, 20)
    pixels = as_pixels(mask.data)
    assert (pixels[:, :20] == 255).all()
    assert (pixels[:, 20:] == 0).all()


def test_transparency_of_a_palette_counts() -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.paste(0, (0, 0, 10, 20))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    pixels = as_pixels(mask_from_alpha(buffer.getvalue()).data)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == 0).all()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (as_bytes(Image.new("RGB", (20, 20))), "no alpha channel"),
        (as_bytes(Image.new("RGBA", (20, 20), (0, 0, 0, 255))), "fully opaque"),
        (as_bytes(left_half())[:60], "damaged|can be read"),
        (b"", "can be read"),
    ],
)
def test_masks_that_are_none(data: bytes, word: str) -> None:
    with pytest.raises(InvalidMedia, match=word):
        mask_from_alpha(data)


def test_a_huge_mask_is_not_decoded() -> None:
    with pytest.raises(InvalidMedia, match="megapixels"):
        mask_from_alpha(as_bytes(Image.new("RGBA", (8000, 8000))))


def test_only_white_parts_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(mask_from_alpha(as_bytes(left_half())).data)
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "picture.png")
    masked = MaskedImage(tmp_path / "picture.png", tmp_path / "mask.png")
    frame = np.full((20, 40, 3), 200, np.uint8)
    made = masked.composite(frame)
    assert (made[:, :20] == 200).all()
    assert (made[:, 20:] == (0, 0, 255)).all()
    # A picture of twice the size: the same halves.
    made = masked.composite(np.full((40, 80, 3), 200, np.uint8))
    assert (made[:, :35] == 200).all()
    assert (made[:, 45:] == (0, 0, 255)).all()
    for name in ("file.png", "file.jpg"):
        Image.fromarray(frame).save(tmp_path / name)
        masked.composite_file(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            left, right = picture.getpixel((5, 10)), picture.getpixel((35, 10))
        assert np.allclose(left or 0, 200, atol=3)
        assert np.allclose(right or 0, (0, 0, 255), atol=3)
