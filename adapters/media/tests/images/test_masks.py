"""Masks, and several pictures as one."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.collage import make_collage
from framegate.media.images.masks import MaskedImage, mask_of
from framegate.media.images.reencode import reencoded


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
    mask = mask_of(as_bytes(left_half(), kind))
    assert (mask.width, mask.height) == (40, 20)
    pixels = as_pixels(mask.png)
    assert (pixels[:, :20] == 255).all()
    assert (pixels[:, 20:] == 0).all()


def test_transparency_of_a_palette_counts() -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.paste(0, (0, 0, 10, 20))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    pixels = as_pixels(mask_of(buffer.getvalue()).png)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == 0).all()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (as_bytes(Image.new("RGB", (20, 20))), "no transparency"),
        (as_bytes(Image.new("RGBA", (20, 20), (0, 0, 0, 255))), "Nothing of the mask"),
        (as_bytes(left_half())[:60], "damaged|can be read"),
        (b"", "can be read"),
    ],
)
def test_masks_that_are_none(data: bytes, word: str) -> None:
    with pytest.raises(InvalidMedia, match=word):
        mask_of(data)


def test_a_huge_mask_is_not_decoded() -> None:
    with pytest.raises(InvalidMedia, match="megapixels"):
        mask_of(as_bytes(Image.new("RGBA", (8000, 8000))))


def test_only_white_parts_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(mask_of(as_bytes(left_half())).png)
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


def test_a_collage() -> None:
    pictures = [
        as_bytes(Image.new("RGB", size, colour))
        for size, colour in (((100, 50), "red"), ((40, 40), "lime"), ((60, 120), "blue"))
    ]
    collage = make_collage(pictures, as_bytes(left_half((100, 50))))
    pixels = as_pixels(collage.picture)
    assert pixels.shape == (50, 175, 3)
    for column, colour in ((50, (255, 0, 0)), (125, (0, 255, 0)), (165, (0, 0, 255))):
        assert tuple(pixels[25, column]) == colour
    assert collage.mask is not None
    mask = as_pixels(collage.mask)
    assert mask.shape == (50, 175)
    assert (mask[:, :45] == 255).all()
    assert (mask[:, 55:] == 0).all()
    with pytest.raises(InvalidMedia) as refused:
        make_collage(pictures, as_bytes(left_half((50, 100))))
    assert refused.value.param == "mask"


def test_a_collage_is_never_too_wide() -> None:
    for size in ((3000, 300), (517, 33), (1000, 1000)):
        picture = as_bytes(Image.new("RGB", size))
        pixels = as_pixels(make_collage([picture] * 15, None).picture)
        assert 3900 < pixels.shape[1] <= 4096
    with pytest.raises(InvalidMedia, match="high"):
        make_collage([as_bytes(Image.new("RGB", (3000, 30)))] * 16, None)


def test_formats(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    assert reencoded(path, "png") == path.read_bytes()
    for kind in ("jpeg", "webp"):
        best, worst = (reencoded(path, kind, quality) for quality in (100, 0))
        assert len(worst) < len(best)
        with Image.open(io.BytesIO(best)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), (64, 64))
    Image.open(path).save(tmp_path / "picture.jpg")
    assert reencoded(tmp_path / "picture.jpg", "png").startswith(b"\x89PNG")
