"""City skylines: rows of towers with lit windows."""

import numpy as np
from PIL import Image, ImageDraw

from framegate.plugins.preview.colours import Colour, as_floats, mix
from framegate.plugins.preview.layers import Layer, quantised

_LAMPS: tuple[Colour, ...] = (
    (255, 214, 140),
    (255, 190, 110),
    (255, 236, 196),
    (176, 214, 255),
    (255, 160, 120),
)


def paint_skyline(
    rng: np.random.Generator,
    width: int,
    bottom: int,
    unit: int,
    *,
    tallest: float,
    colour: Colour,
    haze: Colour,
    lit: float,
    speed: float,
) -> Layer:
    """Towers over ``width`` columns that stand on row ``bottom``.

    ``tallest`` is a fraction of ``bottom``, ``lit`` the share of windows with light.
    """
    height = max(2, int(bottom * tallest))
    towers = Image.new("RGBA", (width, height), (*colour, 0))
    draw = ImageDraw.Draw(towers)
    x = -int(unit * 0.05)
    hills = rng.uniform(0, 2 * np.pi, 3)
    while x < width:
        breadth = max(3, int(unit * rng.uniform(0.045, 0.12)))
        where = x / max(unit, 1)
        bulk = 0.62 + 0.2 * np.sin(where * 1.7 + hills[0]) + 0.12 * np.sin(where * 4.1 + hills[1])
        tall = int(height * min(0.97, bulk * rng.uniform(0.55, 1.15)))
        _tower(
            rng,
            draw,
            x,
            height - tall,
            breadth,
            tall,
            unit,
            mix(colour, haze, float(rng.uniform(0, 0.14))),
            lit,
        )
        x += breadth + (max(1, int(unit * 0.02)) if rng.random() < 0.25 else 0)
    pixels = np.array(towers, dtype=np.float32)
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    colours = pixels[..., :3] + (as_floats(haze) - pixels[..., :3]) * (0.55 * rows**2.0)
    picture = Image.fromarray(np.dstack([quantised(colours, rng), pixels[..., 3].astype(np.uint8)]))
    return Layer(picture, bottom - height, speed)


def _tower(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    x: int,
    top: int,
    breadth: int,
    tall: int,
    unit: int,
    wall: Colour,
    lit: float,
) -> None:
    paint = (*wall, 255)
    kind = rng.random()
    step = max(1, breadth // 5)
    if kind < 0.2:
        draw.rectangle((x + step, top, x + breadth - step - 1, top + tall), fill=paint)
        top += max(1, tall // 9)
    elif kind < 0.32:
        middle = x + breadth / 2
        draw.polygon(
            [(x, top + step * 2), (middle, top - step), (x + breadth - 1, top + step * 2)], fill=paint
        )
        top += step * 2
    elif kind < 0.45:
        mast = max(1, unit // 260)
        middle = x + breadth // 2
        draw.rectangle((middle, top - step * 3, middle + mast - 1, top), fill=paint)
    draw.rectangle((x, top, x + breadth - 1, top + tall), fill=paint)

    pitch = max(3, round(unit / 84))
    pane = max(1, round(pitch * 0.45))
    lamp = _LAMPS[int(rng.integers(0, len(_LAMPS)))]
    left = x + max(1, (breadth - (breadth // pitch) * pitch + pitch - pane) // 2)
    for row in range(top + pitch, top + tall - pitch // 2, pitch):
        floor_lit = lit * float(rng.uniform(0.35, 1.6))
        for column in range(left, x + breadth - pane, pitch):
            if rng.random() < floor_lit:
                glow = mix(wall, lamp, float(rng.uniform(0.4, 1.0)))
                draw.rectangle((column, row, column + pane - 1, row + max(1, pane) - 1), fill=(*glow, 255))
