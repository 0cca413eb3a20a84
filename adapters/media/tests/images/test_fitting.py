"""Input images, fitted to a frame."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import GenerationFailed
from framegate.media.images import decode
from framegate.media.images.fitting import fit, fit_frame, open_image

LEFT, RIGHT = (250, 0, 0), (0, 0, 250)


def two_halves(width: int = 120, height: int = 60) -> Image.Image:
    image = Image.new("RGB", (width, height), LEFT)
    image.paste(RIGHT, (width // 2, 0, width, height))
    return image


def test_an_image_is_cropped_and_never_stretched(tmp_path: Path) -> None:
    wide = Image.new("RGB", (300, 100), "white")
    wide.paste("black", (100, 0, 200, 100))
    wide.save(tmp_path / "wide.png")
    middle = open_image(tmp_path / "wide.png", 64, 64)
    assert (middle.mode, middle.size) == ("RGB", (64, 64))
    assert np.asarray(middle).mean() < 3, "the black middle alone"


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert np.array_equal(np.asarray(open_image(tmp_path / "noise.png", 64, 48)), noise)
    assert fit_frame(noise, 64, 48) is noise


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[decode.ORIENTATION_TAG] = 6  # to be turned clockwise by 90°: its left becomes its top
    two_halves().save(tmp_path / "turned.png", exif=exif)
    upright = open_image(tmp_path / "turned.png", 60, 120)
    assert (upright.getpixel((30, 20)), upright.getpixel((30, 100))) == (LEFT, RIGHT)


def test_a_frame_is_fitted_as_an_image_is() -> None:
    image = two_halves()
    assert np.array_equal(fit_frame(np.asarray(image), 32, 32), np.asarray(fit(image, 32, 32)))


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40), b""])
def test_a_file_that_is_no_image_fails_the_job(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(GenerationFailed, match="can't be read"):
        open_image(tmp_path / "broken.png", 64, 64)


def test_a_missing_image_fails_the_job(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="the job has none"):
        open_image(None, 64, 64)
    with pytest.raises(GenerationFailed, match="can't be read"):
        open_image(tmp_path / "gone.png", 64, 64)


@pytest.mark.parametrize("side", [7200, 10_100])
def test_an_image_with_too_many_pixels_is_not_decoded(side: int, tmp_path: Path) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(GenerationFailed, match="can't be read"):
        open_image(tmp_path / "bomb.png", 64, 64)
