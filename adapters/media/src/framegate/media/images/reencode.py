"""Result pictures in the format that a client wants."""

from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image

Format: TypeAlias = Literal["png", "jpeg", "webp"]


def reencoded(path: Path, wanted: Format, quality: int = 100) -> bytes:
    """The picture as a file of that format; ``quality`` is 0–100, for those that lose something."""
    with Image.open(path) as picture:
        if wanted == "png" and picture.format == "PNG":
            return path.read_bytes()
        buffer = BytesIO()
        rgb = picture.convert("RGB")
    match wanted:
        case "png":
            rgb.save(buffer, "PNG", compress_level=6)
        case "jpeg":
            rgb.save(buffer, "JPEG", quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0")
        case "webp":
            rgb.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
