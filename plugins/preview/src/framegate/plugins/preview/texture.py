"""What film and tape add to every frame: grain, scanlines, light leaks, scratches, split colours."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from framegate.plugins.preview.colours import Colour
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.noise import field, scaled
from framegate.plugins.preview.seeding import random_for

_SPARE = 48
"""How much larger than the frame a texture is, so that each frame can take another part of it."""


class Grain:
    def __init__(self, width: int, height: int, seed: int, strength: float, size: float = 1.0) -> None:
        rng = random_for("grain", seed)
        self._size = width, height
        self._seed = seed
        rows, columns = int((height + _SPARE) / size) + 1, int((width + _SPARE) / size) + 1
        noise = rng.standard_normal((rows, columns)) * strength + 128.0
        grain = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
        self._noise = grain.resize((width + _SPARE, height + _SPARE), Image.Resampling.BILINEAR).convert(
            "RGB"
        )

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        x, y = (int(v) for v in random_for("grain place", self._seed, moment.index).integers(0, _SPARE, 2))
        width, height = self._size
        grained = ImageChops.add(picture, self._noise.crop((x, y, x + width, y + height)), 1.0, -128)
        return grained if moment.presence >= 1.0 else Image.blend(picture, grained, moment.presence)


class Scanlines:
    """Dark lines of a screen, and a band of disturbed rows that wanders up."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self._pitch = max(2, round(height / 200))
        self._seed = seed
        rows = np.arange(height) % self._pitch < max(1, self._pitch // 2)
        dark = np.repeat(np.where(rows, 46, 0)[:, None], width, axis=1)
        self._lines = Image.fromarray(dark.astype(np.uint8))
        self._dark = Image.new("RGB", (width, height), (4, 2, 12))

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        width, height = picture.size
        band = max(2, height // 14)
        top = int(height - (moment.seconds * 0.31 % 1.0) * (height + band))
        rng = random_for("tracking", self._seed, moment.index)
        for offset in range(0, band, max(1, band // 10)):
            row = top + offset
            shift = int(rng.integers(-3, 4) * width / 160 * moment.presence)
            if 0 <= row < height - 1 and shift:
                strip = picture.crop((0, row, width, min(height, row + max(1, band // 10))))
                result.paste(ImageChops.offset(strip, shift, 0), (0, row))
        mask = self._lines.point([round(tone * moment.presence) for tone in range(256)])
        return Image.composite(self._dark, result, mask)


class SplitColours:
    """Red and blue lie apart, as on worn tape."""

    def __init__(self, width: int, share: float) -> None:
        self._shift = max(1, round(width * share))

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        shift = round(self._shift * moment.presence)
        if not shift or shift >= picture.width:
            return picture
        red, green, blue = picture.split()
        return Image.merge("RGB", (_shifted(red, shift), green, _shifted(blue, -shift)))


def _shifted(band: Image.Image, shift: int) -> Image.Image:
    """The band moved sideways; its edge column stands in for what is missing."""
    width, height = band.size
    moved = band.copy()
    moved.paste(band, (shift, 0))
    column = 0 if shift > 0 else width - 1
    edge = band.crop((column, 0, column + 1, height)).resize((abs(shift), height))
    moved.paste(edge, (0 if shift > 0 else width + shift, 0))
    return moved


class Flicker:
    """An old projector's light and the scratches on its film."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        rng = random_for("flicker", self._seed, moment.index)
        gain = 1.0 + moment.presence * float(rng.uniform(-0.035, 0.035))
        result = picture.point([min(255, round(tone * gain)) for tone in range(256)] * 3)
        width, height = result.size
        draw = ImageDraw.Draw(result, "RGBA")
        alpha = round(90 * moment.presence)
        hair = max(1, min(width, height) // 400)
        wander = random_for("scratch", self._seed, moment.index // 9)
        x = float(wander.uniform(0, width)) + float(rng.uniform(-1, 1))
        if wander.random() < 0.6:
            draw.line(
                (x, 0, x + float(wander.uniform(-3, 3)), height), fill=(255, 246, 224, alpha // 2), width=hair
            )
        for _ in range(int(rng.integers(0, 5))):
            left, top = rng.uniform(0, width), rng.uniform(0, height)
            size = max(1.0, min(width, height) / 260 * float(rng.uniform(0.5, 2.2)))
            tone = 20 if rng.random() < 0.5 else 250
            draw.ellipse((left, top, left + size, top + size * 0.8), fill=(tone, tone, tone - 10, alpha))
        return result


class LightLeak:
    """Warm light that falls into the lens and slowly wanders."""

    def __init__(self, width: int, height: int, seed: int, colour: Colour, strength: float) -> None:
        self._light = Image.new("RGB", (width, height), colour)
        self._size = width, height
        self._seed = seed
        rows, columns = max(8, height // 8), max(8, width // 8)
        y = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None]
        x = np.linspace(-0.5, 1.5, columns * 2, dtype=np.float32)[None, :]
        soft = scaled(field(random_for("leak", seed), 64, 64), rows, columns * 2)
        leak = np.exp(-(((x - 0.5 - 0.28 * (y - 0.5)) / 0.26) ** 2)) * (1.0 - 0.55 * y) * (0.55 + 0.7 * soft)
        self._leak = Image.fromarray((np.clip(leak * strength, 0.0, 1.0) * 255.0).astype(np.uint8))

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        start = float(random_for("leak place", self._seed).uniform(0, 2 * math.pi))
        place = 0.5 + 0.5 * math.sin(start + moment.seconds * 0.55)
        span = self._leak.width / 2
        left = place * (self._leak.width - span)
        mask = self._leak.resize(
            self._size, Image.Resampling.BILINEAR, box=(left, 0, left + span, self._leak.height)
        )
        if moment.presence < 1.0:
            mask = mask.point([round(tone * moment.presence) for tone in range(256)])
        return Image.composite(self._light, picture, mask)
