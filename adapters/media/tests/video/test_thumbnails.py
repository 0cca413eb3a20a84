"""Thumbnails and sheets of videos."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.video.frames import read_frames
from framegate.media.video.thumbnails import make_spritesheet, make_thumbnail

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def test_the_thumbnail_is_the_middle(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    video = make_clip("clip.mp4", moving_frames(9))
    make_thumbnail(video, tmp_path / "thumbnail.webp")
    with Image.open(tmp_path / "thumbnail.webp") as thumbnail:
        assert thumbnail.format == "WEBP"
        pixels = np.asarray(thumbnail.convert("RGB"), dtype=int)
    distances = [np.abs(pixels - frame).mean() for frame in read_frames(video)]
    assert int(np.argmin(distances)) == 4


@pytest.mark.parametrize(
    ("count", "size"), [(1, (64, 48)), (3, (192, 48)), (16, (256, 192)), (100, (256, 192))]
)
def test_the_sheet_goes_from_the_first_frame_to_the_last(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path, count: int, size: tuple[int, int]
) -> None:
    video = make_clip("clip.mp4", moving_frames(count))
    make_spritesheet(video, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", size)
        pixels = np.asarray(sheet, dtype=int)
    frames = list(read_frames(video))
    cells = min(count, 16)
    for cell in range(cells):
        row, column = divmod(cell, 4)
        shown = pixels[row * 48 : row * 48 + 48, column * 64 : column * 64 + 64]
        number = round(cell * (count - 1) / max(1, cells - 1))
        assert np.abs(shown - frames[number]).mean() < 6


def test_large_videos_make_small_pictures(make_clip: MakeClip, tmp_path: Path) -> None:
    frames = [np.full((720, 1280, 3), value, np.uint8) for value in (50, 100)]
    video = make_clip("large.mp4", frames)
    make_thumbnail(video, tmp_path / "thumbnail.webp")
    make_spritesheet(video, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "thumbnail.webp") as thumbnail, Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (thumbnail.size, sheet.size) == ((1024, 576), (640, 180))


def test_images_have_thumbnails_too(tmp_path: Path) -> None:
    Image.new("RGB", (2048, 512), (200, 0, 0)).save(tmp_path / "image.png")
    make_thumbnail(tmp_path / "image.png", tmp_path / "thumbnail.webp")
    with Image.open(tmp_path / "thumbnail.webp") as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (1024, 256))


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video")
    for make in (make_thumbnail, make_spritesheet):
        with pytest.raises(InvalidMedia):
            make(tmp_path / "x.mp4", tmp_path / "picture")
