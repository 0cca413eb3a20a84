"""Pictures wider than the frame that slide behind one another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framegate.plugins.preview.motion import Floats


@dataclass(frozen=True, slots=True)
class Layer:
    """``picture`` (RGB or RGBA) is drawn with its upper edge at ``top``.

    ``speed`` is its share of the camera's way: 0 for the sky, 1 for what is nearest.
    ``drift`` is its own way in pixels per second; a drifting picture repeats after ``period`` pixels.
    """

    picture: Image.Image
    top: int
    speed: float
    drift: float = 0.0
    period: int = 0

    def draw(self, canvas: Image.Image, travelled: float, seconds: float) -> None:
        offset = travelled * self.speed + self.drift * seconds
        if self.period:
            offset %= self.period
        visible = crop_between(self.picture, offset, canvas.width)
        mask = visible if visible.mode == "RGBA" else None
        canvas.paste(visible, (0, self.top), mask)


def crop_between(picture: Image.Image, offset: float, width: int) -> Image.Image:
    """``width`` columns from ``offset``, which may lie between two pixels, so that slow layers glide."""
    offset = min(max(offset, 0.0), float(picture.width - width))
    whole = int(offset)
    share = offset - whole
    first = picture.crop((whole, 0, whole + width, picture.height))
    if share < 0.02 or whole + 1 + width > picture.width:
        return first
    return Image.blend(first, picture.crop((whole + 1, 0, whole + 1 + width, picture.height)), share)


def quantised(values: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Floats as bytes, dithered: smooth gradients don't band."""
    dither = rng.random(values.shape[:2], dtype=np.float32)
    shaped = dither[..., None] if values.ndim == 3 else dither
    clipped: Floats = np.clip(values + shaped, 0.0, 255.0)
    return clipped.astype(np.uint8)


def with_alpha(colours: Floats, alpha: Floats, rng: np.random.Generator) -> Image.Image:
    """An RGBA picture from colours (0…255) and coverage (0…1)."""
    coverage = np.clip(alpha * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return Image.fromarray(np.dstack([quantised(colours, rng), coverage]))


def faded(picture: Image.Image, presence: float) -> Image.Image:
    """An RGBA picture with its opacity turned down to ``presence`` (0…1)."""
    if presence >= 1.0:
        return picture
    result = picture.copy()
    result.putalpha(picture.getchannel("A").point([round(a * presence) for a in range(256)]))
    return result
