"""Things drawn over the picture: confetti, fans and masks, viewfinders, frames."""

import math

import numpy as np
from PIL import Image, ImageDraw

from framegate.plugins.preview.colours import Colour, hexed
from framegate.plugins.preview.layers import faded
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.seeding import random_for
from framegate.plugins.preview.text import font_of

_FINE = 2
_PARTY: tuple[Colour, ...] = (
    (255, 77, 109),
    (255, 209, 102),
    (6, 214, 160),
    (76, 201, 240),
    (247, 140, 107),
    (199, 125, 255),
    (255, 243, 176),
)


class Confetti:
    """Falling, tumbling scraps of paper."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        rng = random_for("confetti", seed)
        self._size = width, height
        unit = min(width, height)
        self._count = min(90, max(8, width * height // 3000))
        self._length = np.maximum(1.0, unit * rng.uniform(0.011, 0.026, self._count))
        self._start = rng.random((self._count, 2))
        self._fall = rng.uniform(0.12, 0.3, self._count)
        self._turn = rng.uniform(0, 2 * np.pi, (self._count, 3))
        self._pace = rng.uniform(1.2, 4.0, (self._count, 2))
        self._colour = rng.integers(0, len(_PARTY), self._count)

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        draw = ImageDraw.Draw(result, "RGBA")
        width, height = self._size
        alpha = round(235 * moment.presence)
        for number in range(self._count if alpha else 0):
            spin, tumble, sway = (float(v) for v in self._turn[number])
            spin += moment.seconds * float(self._pace[number, 0])
            tumble += moment.seconds * float(self._pace[number, 1])
            length = float(self._length[number])
            x = (float(self._start[number, 0]) + 0.02 * math.sin(sway + moment.seconds * 1.7)) * width
            fallen = float(self._start[number, 1]) + moment.seconds * float(self._fall[number])
            y = (fallen % 1.15 - 0.08) * height
            along = math.cos(spin) * length, math.sin(spin) * length
            flat = math.cos(tumble) * 0.55
            across = -along[1] * flat, along[0] * flat
            corners = [
                (x + a * along[0] + b * across[0], y + a * along[1] + b * across[1])
                for a, b in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
            ]
            red, green, blue = _PARTY[int(self._colour[number])]
            shade = 0.72 + 0.28 * abs(math.cos(tumble))
            draw.polygon(corners, fill=(round(red * shade), round(green * shade), round(blue * shade), alpha))
        return result


class Stickers:
    """Paper fans and goblin masks that pop up to a beat."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self._seed = seed
        side = max(2, round(min(width, height) * 0.24))
        self._sprites = (_fan(side), _goblin(side))

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        width, height = picture.size
        for number in range(5):
            clock = moment.seconds * 1.25 + number * 0.37
            life = clock % 1.0
            rng = random_for("sticker", self._seed, number, int(clock))
            size = math.sin(math.pi * min(1.0, life * 1.05)) ** 0.5 if life < 0.95 else 0.0
            sprite = self._sprites[int(rng.integers(0, 2))]
            side = int(sprite.width / _FINE * 1.3 * size * float(rng.uniform(0.6, 1.15)) * moment.presence)
            angle = float(rng.uniform(-30, 30)) + 14 * math.sin(clock * 9)
            x = width * float(rng.choice([rng.uniform(0.08, 0.3), rng.uniform(0.7, 0.92)]))
            y = height * float(rng.uniform(0.16, 0.74))
            if side >= 2:
                small = sprite.resize((side, side), Image.Resampling.BILINEAR)
                small = small.rotate(angle, Image.Resampling.BILINEAR)
                result.paste(small, (round(x - side / 2), round(y - side / 2)), small)
        return result


def _fan(side: int) -> Image.Image:
    size = side * _FINE
    fan = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    draw = ImageDraw.Draw(fan)
    foot = size * 0.5, size * 0.86
    reach = size * 0.74

    def disc(radius: float, start: float, end: float, fill: Colour) -> None:
        box = (foot[0] - radius, foot[1] - radius, foot[0] + radius, foot[1] + radius)
        draw.pieslice(box, start, end, fill=(*fill, 255))

    disc(reach * 1.03, 206, 334, (60, 16, 22))
    for rib in range(8):
        colour = hexed("f6f0dc") if rib % 2 else hexed("e23b3b")
        disc(reach, 208 + rib * 15.5, 208 + (rib + 1) * 15.5, colour)
    disc(reach * 0.62, 208, 332, hexed("ffd166"))
    disc(reach * 0.56, 208, 332, hexed("d62839"))
    disc(reach * 0.22, 206, 334, (60, 16, 22))
    return fan


def _goblin(side: int) -> Image.Image:
    size = side * _FINE
    mask = Image.new("RGBA", (size, size), (200, 30, 30, 0))
    draw = ImageDraw.Draw(mask)

    def ellipse(x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        draw.ellipse(((x - rx) * size, (y - ry) * size, (x + rx) * size, (y + ry) * size), fill=(*fill, 255))

    def polygon(fill: Colour, *points: tuple[float, float]) -> None:
        draw.polygon([(x * size, y * size) for x, y in points], fill=(*fill, 255))

    dark, red, gold, white = (48, 10, 14), hexed("d9252e"), hexed("ffcb3d"), hexed("fff6e6")
    for way in (-1, 1):
        polygon(gold, (0.5 + way * 0.3, 0.3), (0.5 + way * 0.4, 0.02), (0.5 + way * 0.16, 0.2))
    ellipse(0.5, 0.54, 0.4, 0.42, dark)
    ellipse(0.5, 0.54, 0.375, 0.395, red)
    for way in (-1, 1):
        polygon(dark, (0.5 + way * 0.04, 0.43), (0.5 + way * 0.32, 0.29), (0.5 + way * 0.3, 0.39))
        ellipse(0.5 + way * 0.17, 0.48, 0.085, 0.07, white)
        ellipse(0.5 + way * 0.15, 0.485, 0.033, 0.04, dark)
    ellipse(0.5, 0.61, 0.085, 0.09, hexed("a81820"))
    ellipse(0.5, 0.595, 0.07, 0.075, hexed("f0484a"))
    polygon(dark, (0.24, 0.72), (0.5, 0.76), (0.76, 0.72), (0.66, 0.87), (0.34, 0.87))
    for tooth in range(5):
        left = 0.33 + tooth * 0.07
        polygon(white, (left, 0.745), (left + 0.055, 0.75), (left + 0.027, 0.81))
    return mask


class Viewfinder:
    """Corner brackets; with ``recording`` also a red dot and a running clock."""

    def __init__(self, width: int, height: int, *, recording: bool) -> None:
        self._recording = recording
        unit = min(width, height)
        self._unit = unit
        self._brackets = Image.new("RGBA", (width, height), (255, 255, 255, 0))
        if unit < 32:
            return
        draw = ImageDraw.Draw(self._brackets)
        arm, line = round(unit * 0.075), max(1, round(unit / 240))
        for x, way_x in ((round(width * 0.14), 1), (round(width * 0.86), -1)):
            for y, way_y in ((round(height * 0.16), 1), (round(height * 0.74), -1)):
                draw.line((x, y, x + way_x * arm, y), fill=(255, 255, 255, 200), width=line)
                draw.line((x, y, x, y + way_y * arm), fill=(255, 255, 255, 200), width=line)

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        brackets = faded(self._brackets, moment.presence)
        result.paste(brackets, (0, 0), brackets)
        if self._recording and self._unit >= 96:
            self._draw_clock(result, moment)
        return result

    def _draw_clock(self, result: Image.Image, moment: Moment) -> None:
        size = max(9, round(self._unit * 0.032))
        minutes, seconds = divmod(int(moment.seconds), 60)
        font, text = font_of(size), f"REC {minutes:02d}:{seconds:02d}"
        clock = Image.new("RGBA", (size * 2 + round(font.getlength(text)), size * 2), (255, 255, 255, 0))
        draw = ImageDraw.Draw(clock)
        if moment.seconds % 1.0 < 0.6:
            draw.ellipse((0, size * 0.64, size * 0.72, size * 1.36), fill=(236, 40, 48, 235))
        draw.text((size, size), text, fill=(255, 255, 255, 235), font=font, anchor="lm")
        clock = faded(clock, moment.presence)
        result.paste(clock, (round(self._unit * 0.045), round(self._unit * 0.055) - size), clock)


class Border:
    """An opaque frame; ``radius`` rounds its inner corners, ``line`` draws a dark line inside."""

    def __init__(
        self, width: int, height: int, colour: Colour, share: float, *, radius: float = 0.0, line: float = 0.0
    ) -> None:
        unit = min(width, height)
        thick = round(unit * share)
        large = Image.new("L", (width, height), 255)
        self._mask: Image.Image | None = None
        if thick < 1 or unit < 12:
            return
        inner = thick, thick, width - 1 - thick, height - 1 - thick
        draw = ImageDraw.Draw(large)
        draw.rounded_rectangle(inner, round(unit * radius), fill=0)
        self._mask = large
        self._fill = Image.new("RGB", (width, height), colour)
        if line:
            rule = max(1, round(unit * line))
            ImageDraw.Draw(self._fill).rectangle(
                (thick - rule, thick - rule, width - 1 - thick + rule, height - 1 - thick + rule),
                fill=(18, 14, 20),
            )

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        if self._mask is None:
            return picture
        result = picture.copy()
        result.paste(self._fill, (0, 0), self._mask)
        return result
