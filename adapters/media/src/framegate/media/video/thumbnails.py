"""Make images that represent a result: a thumbnail, and a sheet of a video's frames."""

import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.core.types import MediaKind
from framegate.media.file_type import detect_kind
from framegate.media.video.color import to_rgb
from framegate.media.video.containers import open_video
from framegate.media.video.probe import describe_video

if TYPE_CHECKING:
    from framegate.core.backend import Frame

THUMBNAIL_SIDE = 1024
CELL_SIDE = 320
COLUMNS = 4
_SIGNATURE_BYTES = 16
MAX_CELLS = 16


def make_thumbnail(result: Path, image_path: Path) -> None:
    """Write an image, or the frame in the middle of a video, as a WebP with no side above `THUMBNAIL_SIDE`.

    Raises:
        InvalidMedia: The file is not a valid image or video, or is damaged.
    """
    with result.open("rb") as file:
        kind = detect_kind(file.read(_SIGNATURE_BYTES))
    if kind == MediaKind.IMAGE:
        try:
            with Image.open(result) as image:
                _write_thumbnail(image.convert("RGB"), image_path)
        except (OSError, SyntaxError):  # as Pillow says that a file is damaged
            raise InvalidMedia("The file is not a valid image or video.") from None
        return
    count = describe_video(result).num_frames
    for frame in _frames_numbered(result, {count // 2}):
        _write_thumbnail(Image.fromarray(frame), image_path)


def _write_thumbnail(image: Image.Image, image_path: Path) -> None:
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    image.save(image_path, "WEBP", quality=85)


def make_spritesheet(video: Path, image_path: Path) -> None:
    """Write frames of ``video``, evenly spread from the first to the last, row by row as one JPEG.

    There are up to `MAX_CELLS`, each with no side above `CELL_SIDE`. One of them is in memory at a time.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    info = describe_video(video)
    cells = min(MAX_CELLS, info.num_frames)
    columns = min(COLUMNS, cells)
    scale = min(1.0, CELL_SIDE / max(info.width, info.height))
    width, height = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    sheet = Image.new("RGB", (columns * width, math.ceil(cells / columns) * height))
    numbers = {round(cell * (info.num_frames - 1) / max(1, cells - 1)) for cell in range(cells)}
    for cell, frame in enumerate(_frames_numbered(video, numbers)):
        image = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        row, column = divmod(cell, columns)
        sheet.paste(image, (column * width, row * height))
    sheet.save(image_path, "JPEG", quality=85)


def _frames_numbered(path: Path, numbers: Collection[int]) -> "Iterator[Frame]":
    last = max(numbers)
    with open_video(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number in numbers:
                yield to_rgb(frame)
            if number == last:
                return
