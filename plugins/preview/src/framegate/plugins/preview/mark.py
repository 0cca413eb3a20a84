"""The small sign that no model made this, and its removal where a shot goes on from a marked frame."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from framegate.plugins.preview.motion import Floats
from framegate.plugins.preview.text import font_of

_WORD = "preview"
_FINE = 4
_PILL = (14, 16, 22)
_PILL_COVER = 0.42
_TEXT_COVER = 0.8


class Mark:
    """A translucent pill in the upper right corner of frames of one size."""

    def __init__(self, width: int, height: int) -> None:
        unit = min(width, height)
        size = round(min(max(unit * 0.026, 8.0), 40.0))
        font = font_of(size)
        left, top, right, bottom = font.getbbox(_WORD)
        pad_x, pad_y = size * 0.55, size * 0.32
        pill = round(right - left + 2 * pad_x), round(size * 0.78 + 2 * pad_y)
        margin = max(2, round(unit * 0.045))
        lettered = pill[0] + 2 * margin <= width and pill[1] + 2 * margin <= height // 2
        if not lettered:
            margin = unit // 12
            pill = max(1, min(width // 4, unit // 3)), max(1, unit // 9)
        self._box = width - margin - pill[0], margin, width - margin, margin + pill[1]
        self._stamp = _rounded(pill)
        if lettered:
            letters = Image.new("L", pill, 0)
            at = pill[0] / 2 - (left + right) / 2, pill[1] / 2 - (top + bottom) / 2
            ImageDraw.Draw(letters).text(at, _WORD, fill=255, font=font)
            self._stamp = _with_letters(self._stamp, letters)
        else:
            self._stamp = _with_letters(
                self._stamp, self._stamp.getchannel("A").point([a // 2 for a in range(256)])
            )

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the place that the mark covers."""
        return self._box

    def draw(self, canvas: Image.Image) -> None:
        canvas.paste(self._stamp, self._box[:2], self._stamp)

    def removed_from(self, picture: Image.Image) -> Image.Image:
        """``picture`` as it was before `draw`: the mark is translucent, so what it covers is known."""
        marked = np.asarray(picture.crop(self._box), dtype=np.float32)
        stamp = np.asarray(self._stamp, dtype=np.float32)
        seen = 1.0 - stamp[..., 3:] / np.float32(255.0)
        before = np.clip((marked - stamp[..., :3] * (1.0 - seen)) / np.maximum(seen, 0.08), 0.0, 255.0)
        trust = seen[..., 0] ** 3
        around = np.dstack(
            [_blurred(before[..., c] * trust) / (_blurred(trust * 255.0) / 255.0) for c in range(3)]
        )
        share = np.clip((seen - 0.3) / 0.2, 0.0, 1.0)
        healed = np.clip(around + (before - around) * share + 0.5, 0.0, 255.0)
        result = picture.copy()
        result.paste(Image.fromarray(healed.astype(np.uint8)), self._box[:2])
        return result


def _blurred(values: Floats) -> Floats:
    picture = Image.fromarray(np.clip(values, 0.0, 255.0).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(2.5)), dtype=np.float32) + np.float32(0.5)


def _rounded(size: tuple[int, int]) -> Image.Image:
    large = Image.new("L", (size[0] * _FINE, size[1] * _FINE), 0)
    box = (0, 0, large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, radius=large.height // 2, fill=round(255 * _PILL_COVER))
    pill = Image.new("RGBA", size, (*_PILL, 0))
    pill.putalpha(large.resize(size, Image.Resampling.BOX))
    return pill


def _with_letters(pill: Image.Image, letters: Image.Image) -> Image.Image:
    """Pill and white letters as one stamp."""
    below = np.asarray(pill, dtype=np.float32)
    cover = np.asarray(letters, dtype=np.float32)[..., None] * np.float32(_TEXT_COVER / 255.0)
    pill_cover = below[..., 3:] / np.float32(255.0)
    alpha = cover + pill_cover * (1.0 - cover)
    colour = (255.0 * cover + below[..., :3] * pill_cover * (1.0 - cover)) / np.maximum(alpha, 1e-4)
    stamp = np.dstack([colour, alpha * 255.0])
    return Image.fromarray(np.clip(stamp + 0.5, 0.0, 255.0).astype(np.uint8))
