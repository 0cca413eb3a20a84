"""A small sailing boat that lies at the horizon and bobs."""

import math

from PIL import Image, ImageDraw

from framegate.plugins.preview.colours import Colour, mix

_FINE = 4


class Boat:
    """Drawn above the waterline, so that the water mirrors it."""

    def __init__(self, unit: int, x: float, waterline: int, hull: Colour, sail: Colour) -> None:
        self._height = max(4, int(unit * 0.2))
        self._x = x
        self._waterline = waterline
        self._drawing = _draw_boat(self._height, hull, sail)
        self._sprites: dict[tuple[int, int], Image.Image] = {}

    def draw(self, canvas: Image.Image, travelled: float, seconds: float) -> None:
        tilt = 2.2 * math.sin(seconds * 1.3)
        sink = self._height * 0.012 * (1.0 + math.sin(seconds * 1.9))
        sprite = self._sprite(round(tilt * 5), round(sink * _FINE))
        left = round(self._x - travelled * 0.12 - sprite.width / 2)
        canvas.paste(sprite, (left, self._waterline - sprite.height + 1), sprite)

    def _sprite(self, fifths: int, sunk: int) -> Image.Image:
        """The boat tilted by so many fifths of a degree."""
        known = self._sprites.get((fifths, sunk))
        if known is None:
            boat = self._drawing.rotate(fifths / 5, Image.Resampling.BICUBIC, translate=(0, sunk))
            known = boat.resize((boat.width // _FINE, boat.height // _FINE), Image.Resampling.BOX)
            self._sprites[fifths, sunk] = known
        return known


def _draw_boat(height: int, hull: Colour, sail: Colour) -> Image.Image:
    size = height * _FINE
    boat = Image.new("RGBA", (size, size), (*sail, 0))
    draw = ImageDraw.Draw(boat)

    def points(*pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * size, y * size) for x, y in pairs]

    draw.polygon(points((0.50, 0.06), (0.50, 0.80), (0.84, 0.80), (0.72, 0.45)), fill=(*sail, 255))
    draw.polygon(points((0.47, 0.16), (0.47, 0.80), (0.22, 0.80)), fill=(*mix(sail, hull, 0.22), 255))
    draw.rectangle(
        (*points((0.475, 0.03))[0], *points((0.49, 0.88))[0]), fill=(*mix(hull, (0, 0, 0), 0.2), 255)
    )
    draw.polygon(points((0.12, 0.85), (0.92, 0.83), (0.80, 1.0), (0.24, 1.0)), fill=(*hull, 255))
    return boat
