"""The prompt, written at the foot of the picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from framegate.plugins.preview.layers import faded
from framegate.plugins.preview.text import drawable, font_of, wrapped

_SMALLEST_FRAME = 96
"""Frames whose shorter side is below this have no room for a caption."""


class Caption:
    """Up to three lines over a soft shadow; nothing at all where nothing can be written."""

    def __init__(self, prompt: str, width: int, height: int) -> None:
        unit = min(width, height)
        text = drawable(prompt)
        self._picture: Image.Image | None = None
        self._faded: dict[int, Image.Image] = {}
        if not text or unit < _SMALLEST_FRAME:
            return
        size = round(min(max(unit * 0.043, 10.0), 64.0))
        font = font_of(size)
        margin = round(unit * 0.055)
        accent = max(2, round(size * 0.12))
        indent = margin + accent + round(size * 0.55)
        lines = wrapped(text, font, min(width - indent - margin, size * 34), 2 if width > height else 3)
        pitch = round(size * 1.32)
        block = pitch * len(lines)
        self._height = min(height, block + margin * 3)
        bottom = self._height - margin
        self._top = height - self._height

        letters = Image.new("L", (width, self._height), 0)
        draw = ImageDraw.Draw(letters)
        draw.rounded_rectangle(
            (margin, bottom - block + size * 0.1, margin + accent - 1, bottom - size * 0.1),
            accent // 2,
            fill=210,
        )
        for number, line in enumerate(lines):
            middle = bottom - block + pitch * (number + 0.5)
            draw.text((indent, middle), line, fill=245, font=font, anchor="lm")
        self._picture = _over_shadow(letters, size)

    def draw(self, canvas: Image.Image, presence: float = 1.0) -> None:
        level = round(presence * 32)
        if self._picture is None or level == 0:
            return
        picture = self._faded.get(level)
        if picture is None:
            picture = faded(self._picture, level / 32)
            self._faded = {level: picture}
        canvas.paste(picture, (0, self._top), picture)


def _over_shadow(letters: Image.Image, size: int) -> Image.Image:
    """White letters on a dark fade towards the foot, with a tight shadow of their own."""
    width, height = letters.size
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    fade = 0.68 * rows**1.25 + np.zeros((1, width), np.float32)
    close = (
        np.asarray(letters.filter(ImageFilter.GaussianBlur(max(1.0, size * 0.14))), dtype=np.float32) / 255.0
    )
    dark = fade + close * 0.55 * (1.0 - fade)
    white = np.asarray(letters, dtype=np.float32) / np.float32(255.0)
    alpha = white + dark * (1.0 - white)
    tone = (255.0 * white + 8.0 * dark * (1.0 - white)) / np.maximum(alpha, 1e-4)
    stack = np.dstack([tone, tone, tone, alpha * 255.0])
    return Image.fromarray(np.clip(stack + 0.5, 0.0, 255.0).astype(np.uint8))
