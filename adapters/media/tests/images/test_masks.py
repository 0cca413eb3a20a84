"""Masks of both kinds, and images with a mask."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.masks import MaskedImage, normalize_mask


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


def white_left_half(mode: str, size: tuple[int, int] = (40, 20)) -> Image.Image:
    """White on its left, black elsewhere."""
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    if mode == "I;16":
        return Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
    return mask.convert(mode)


def halves(data: bytes, width: int = 40, height: int = 20) -> None:
    """Check that the left half of the mask is redrawn, and the right half is kept."""
    mask = normalize_mask(data, width, height)
    assert (mask.width, mask.height) == (width, height)
    pixels = as_pixels(mask.data)
    assert pixels.shape == (height, width)
    assert (pixels[:, : width // 2] == 255).all()
    assert (pixels[:, width // 2 :] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_gets_white(kind: str) -> None:
    halves(as_bytes(left_half(), kind))


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (255, 255, 255, 0)])
def test_with_alpha_ignored_only_what_is_painted_white_counts(hidden: tuple[int, int, int, int]) -> None:
    picture = Image.new("RGBA", (40, 20), hidden)
    picture.paste((255, 255, 255, 255), (0, 0, 20, 20))
    pixels = as_pixels(normalize_mask(as_bytes(picture), 40, 20, ignore_alpha=True).data)
    assert (pixels[:, :20] == 255).all()
    assert (pixels[:, 20:] == 0).all()


def test_transparency_of_a_palette_counts() -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.paste(0, (0, 0, 10, 20))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    halves(buffer.getvalue())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_what_is_white_in_an_opaque_mask_stays_white(mode: str) -> None:
    halves(as_bytes(white_left_half(mode)))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF"])
def test_masks_of_other_formats(kind: str) -> None:
    # 16 pixels are a block of a JPEG, whose noise does not cross into the next one.
    halves(as_bytes(white_left_half("RGB", (64, 32)), kind), 64, 32)


@pytest.mark.parametrize("size", [(8, 4), (20, 10), (80, 40), (40, 4), (4000, 20), (2, 1)])
def test_a_mask_of_another_size_is_stretched(size: tuple[int, int]) -> None:
    halves(as_bytes(white_left_half("L", size)))
    halves(as_bytes(left_half(size)))


def test_grey_stays_grey() -> None:
    pixels = as_pixels(normalize_mask(as_bytes(Image.new("L", (20, 20), 100)), 10, 10).data)
    assert (pixels == 100).all()


def test_a_mask_is_turned_as_its_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    buffer = io.BytesIO()
    white_left_half("L").transpose(Image.Transpose.ROTATE_180).save(buffer, "PNG", exif=exif)
    halves(buffer.getvalue())


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (as_bytes(Image.new("RGB", (20, 20))), "nothing to edit"),
        (as_bytes(Image.new("L", (20, 20), 9)), "nothing to edit"),
        (as_bytes(Image.new("RGBA", (20, 20), (0, 0, 0, 255))), "transparent, or white"),
        (as_bytes(left_half())[:60], "damaged|can be read"),
        (b"", "can be read"),
    ],
)
def test_masks_that_are_none(data: bytes, word: str) -> None:
    with pytest.raises(InvalidMedia, match=word):
        normalize_mask(data, 20, 20)


def test_a_huge_mask_is_not_decoded() -> None:
    with pytest.raises(InvalidMedia, match="megapixels"):
        normalize_mask(as_bytes(Image.new("RGBA", (8000, 8000))), 20, 20)


def test_only_white_parts_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(normalize_mask(as_bytes(left_half()), 40, 20).data)
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
