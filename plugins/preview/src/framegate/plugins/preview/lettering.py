"""What is written on frames, in the font that comes with Pillow: the caption and the "preview" watermark."""

import textwrap
import unicodedata
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from framegate.plugins.preview.pixels import Color, to_mask

_STAND_INS = str.maketrans("‐‑–—−―„«»「」『』《》×ØøŁłĐđı", '------"""""""""xOoLlDdi') | str.maketrans(
    {"、": ", ", "。": ". ", "€": "EUR ", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "ß": "ss"}
)
font_of = lru_cache(maxsize=64)(ImageFont.load_default)


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    glyph, missing = (
        bytes(font_of(24).getmask(text))  # pyright: ignore[reportArgumentType]  # Pillow leaves it untyped
        for text in (character, "\uffff")
    )
    return glyph != missing


def to_drawable_text(text: str) -> str:
    """Return ``text`` in one line with only what the font can draw; empty if nothing readable is left.

    Accents that it lacks are dropped from their letters; a stretch of other signs becomes an ellipsis.
    """
    line = ""
    for sign in unicodedata.normalize("NFKD", text[:600].translate(_STAND_INS)):
        if sign.isspace() or (sign.isprintable() and _has_glyph(sign)):
            line += sign
        elif sign.isprintable() and not unicodedata.combining(sign) and not line.rstrip().endswith("…"):
            line += "…"
    return " ".join(line.split()) if any(sign.isalnum() for sign in line) else ""


def wrap_text(text: str, size: int, width: float) -> list[str]:
    """Return ``text`` in at most three lines of ``width`` pixels; what is left out is an ellipsis."""
    font = font_of(size)
    columns = max(int(0.95 * width * len(text) / max(font.getlength(text), 1.0)), 2)
    while True:
        lines = textwrap.wrap(text, columns, max_lines=3, placeholder="…")
        if columns == 2 or all(font.getlength(line) <= width for line in lines):
            return lines
        columns -= 1  # a line of wide letters, such as capitals, needs more room than the mean


def write_caption(overlay: Image.Image, prompt: str, bar: Color | None = None) -> None:
    """Write the prompt at the foot of an RGBA overlay, on a bar of that colour or else on a dark fade."""
    (width, height), unit = overlay.size, min(overlay.size)
    size, margin = round(min(max(unit * 0.043, 10.0), 64.0)), round(unit * 0.055)
    lines, pitch = wrap_text(to_drawable_text(prompt), size, width - 2 * margin), 1.32 * size
    if not lines:
        return
    tall = min(height, round(pitch * len(lines)) + (2 if bar else 3) * margin)
    fade = np.linspace(1.0 if bar else 0.0, 1.0 if bar else 0.7, tall)[:, None] * np.ones(width)
    backing = Image.new("RGBA", (width, tall), bar or (8, 8, 10))
    backing.putalpha(to_mask(fade))
    overlay.paste(backing, (0, height - tall))
    draw = ImageDraw.Draw(overlay)
    for number, line in enumerate(reversed(lines)):
        place = margin, height - margin - pitch * (number + 0.5)
        draw.text(place, line, fill="white", font=font_of(size), anchor="lm")


class Watermark:
    """The "preview" label in the upper right corner, which says that no model made this."""

    def __init__(self, width: int, height: int) -> None:
        unit = min(width, height)
        size, margin = round(min(max(unit * 0.026, 8.0), 40.0)), round(unit * 0.045)
        wide, tall = round(font_of(size).getlength("preview") + 1.1 * size), round(1.45 * size)
        lettered = wide + 2 * margin <= width and tall + 2 * margin <= height // 2
        wide, tall = (wide, tall) if lettered else (max(1, unit // 4), max(1, unit // 9))
        self._place = width - margin - wide, margin
        self._stamp = Image.new("RGBA", (wide, tall), (14, 16, 22, 0))
        draw = ImageDraw.Draw(self._stamp)
        draw.rounded_rectangle((0, 0, wide - 1, tall - 1), tall // 2, fill=(14, 16, 22, 110))
        if lettered:
            place, white = (wide / 2, tall / 2), (255, 255, 255, 200)
            draw.text(place, "preview", fill=white, font=font_of(size), anchor="mm")

    def draw(self, canvas: Image.Image) -> None:
        """Draw the watermark on a frame."""
        canvas.paste(self._stamp, self._place, self._stamp)

    def remove_from(self, image: Image.Image) -> Image.Image:
        """Return a frame without its watermark, which is translucent and so hides nothing."""
        (left, top), stamp = self._place, np.asarray(self._stamp, dtype=np.float32)
        marked = np.asarray(image.crop((left, top, left + stamp.shape[1], top + stamp.shape[0])))
        alpha = stamp[..., 3:] / 255.0
        before = np.clip((marked - stamp[..., :3] * alpha) / (1.0 - alpha) + 0.5, 0.0, 255.0)
        result = image.copy()
        result.paste(
            Image.fromarray(before.astype(np.uint8)).filter(ImageFilter.MedianFilter(3)), self._place
        )
        return result
