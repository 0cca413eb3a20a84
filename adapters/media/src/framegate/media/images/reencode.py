"""Encode result images in the format that a client wants."""

from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image

Format: TypeAlias = Literal["png", "jpeg", "webp"]


def reencode(path: Path, file_format: Format, quality: int = 100) -> bytes:
    """Return the image as a file of that format; ``quality`` (0–100) applies to JPEG and WebP."""
    with Image.open(path) as image:
        if file_format == "png" and image.format == "PNG":
            return path.read_bytes()
        buffer = BytesIO()
        rgb = image.convert("RGB")
    match file_format:
        case "png":
            rgb.save(buffer, "PNG", compress_level=6)
        case "jpeg":
            rgb.save(buffer, "JPEG", quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0")
        case "webp":
            rgb.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
