"""A news channel's bar, with the prompt running through it."""

from PIL import Image, ImageDraw

from framegate.plugins.preview.layers import faded
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.text import drawable, font_of

_RED = (196, 22, 34)
_NAVY = (14, 26, 58)
_LONGEST = 260


class NewsBar:
    """A dark strip along the foot, flush with the edges, a red label on it, and "LIVE" above."""

    def __init__(self, prompt: str, width: int, height: int) -> None:
        unit = min(width, height)
        self._size = width, height
        self._height = max(1, round(unit * 0.1))
        self._legible = unit >= 96
        self._letters = max(9, round(self._height * 0.42))
        font = font_of(self._letters)
        text = (drawable(prompt)[:_LONGEST] or "Framegate").upper()
        line = f"{text}    •    ".replace("•", "+")
        repeated = line * max(1, int(width / max(1.0, font.getlength(line))) + 1)
        self._period = max(1, round(font.getlength(repeated)))
        self._ticker = Image.new("RGB", (self._period + width, self._height), _NAVY)
        draw = ImageDraw.Draw(self._ticker)
        for start in (0, self._period):
            draw.text((start, self._height / 2), repeated, fill=(240, 244, 252), font=font, anchor="lm")
        self._label_width = round(font.getlength("BREAKING") + self._letters * 1.6)

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        width, height = self._size
        top = height - self._height
        rule = max(1, self._height // 12)
        draw = ImageDraw.Draw(result)
        if not self._legible:
            draw.rectangle((0, top, width, height), fill=_NAVY)
            draw.rectangle((0, top, width // 4, height), fill=_RED)
            return result
        offset = int(moment.seconds * self._letters * 4.0) % self._period
        result.paste(self._ticker.crop((offset, 0, offset + width, self._height)), (0, top))
        draw.rectangle((0, top - rule, width, top - 1), fill=(232, 236, 246))
        draw.rectangle((0, top, self._label_width, height), fill=_RED)
        font = font_of(self._letters)
        draw.text(
            (self._label_width / 2, top + self._height / 2), "BREAKING", fill="white", font=font, anchor="mm"
        )
        self._draw_live(result, moment)
        return result

    def _draw_live(self, result: Image.Image, moment: Moment) -> None:
        size = max(9, round(self._letters * 0.9))
        wide, tall = round(size * 3.6), round(size * 1.6)
        badge = Image.new("RGBA", (wide + 1, tall + 1), (*_RED, 0))
        draw = ImageDraw.Draw(badge)
        draw.rounded_rectangle((0, 0, wide, tall), size * 0.25, fill=(*_RED, 240))
        dot = size * 0.2 * (1.0 if moment.seconds % 1.2 < 0.8 else 0.55)
        x, y = size * 0.7, tall / 2
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill="white")
        draw.text((x + size * 0.6, y), "LIVE", fill="white", font=font_of(size), anchor="lm")
        badge = faded(badge, moment.presence)
        result.paste(badge, (round(size * 1.2), round(size * 1.2)), badge)
