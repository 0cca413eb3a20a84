"""Natural-looking randomness: fields that tile, and outlines of hills."""

import numpy as np
from PIL import Image

from framegate.plugins.preview.motion import Floats


def _levelled(values: Floats) -> Floats:
    """Any spread of values as 0…1, most of them around 0.5."""
    spread: Floats = (values - values.mean()) / (values.std() + np.float32(1e-9))
    levelled: Floats = 1.0 / (1.0 + np.exp(np.float32(-1.7) * spread))
    return levelled.astype(np.float32)


def field(
    rng: np.random.Generator, height: int, width: int, *, smoothness: float = 1.8, stretch: float = 1.0
) -> Floats:
    """A fractal cloud of values in 0…1 that tiles both ways.

    ``smoothness`` is the fall of its spectrum; ``stretch`` > 1 draws it out sideways.
    """
    rows = np.fft.fftfreq(height)[:, None] * height
    columns = np.fft.rfftfreq(width)[None, :] * height * stretch
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1.0
    white = np.fft.rfft2(rng.standard_normal((height, width)))
    shaped = np.fft.irfft2(white * frequency ** (-smoothness), s=(height, width))
    return _levelled(shaped.astype(np.float32))


def scaled(values: Floats, height: int, width: int) -> Floats:
    """A field at another size, smoothly; it still tiles."""
    rows, columns = values.shape
    padded = np.pad(values, 2, mode="wrap")
    picture = Image.fromarray(padded.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC, box=(2.0, 2.0, 2.0 + columns, 2.0 + rows)
    )
    return np.asarray(picture, dtype=np.float32)


def texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    detail: int = 192,
    smoothness: float = 1.8,
    stretch: float = 1.0,
) -> Floats:
    """A field for an area of any shape; its grains are as wide as they are high (times ``stretch``)."""
    scale = detail / max(height, width)
    rows, columns = max(16, round(height * scale)), max(16, round(width * scale))
    return scaled(field(rng, rows, columns, smoothness=smoothness, stretch=stretch), height, width)


def sampled(tile: Floats, rows: Floats, columns: Floats) -> Floats:
    """A tiling field read at any places, between its pixels too."""
    height, width = tile.shape
    row, column = np.floor(rows), np.floor(columns)
    down, right = rows - row, columns - column
    upper, left = row.astype(np.int64) % height, column.astype(np.int64) % width
    lower, further = (upper + 1) % height, (left + 1) % width
    above = tile[upper, left] * (1 - right) + tile[upper, further] * right
    below = tile[lower, left] * (1 - right) + tile[lower, further] * right
    values: Floats = above * (1 - down) + below * down
    return values.astype(np.float32)


def outline(rng: np.random.Generator, length: int, waves: float, roughness: float) -> Floats:
    """A skyline in 0…1: about ``waves`` big humps over ``length``, finer ones by ``roughness`` (0…1)."""
    positions = np.linspace(0.0, 1.0, length, dtype=np.float32)
    total = np.zeros(length, dtype=np.float32)
    strength = 1.0
    frequency = max(waves, 0.5)
    while strength > 0.015 and frequency < length / 3:
        knots = rng.random(int(frequency) + 5).astype(np.float32)
        total += strength * _through(knots, positions * frequency + float(rng.random()))
        strength *= 0.3 + 0.25 * roughness
        frequency *= 2.1
    low, high = float(total.min()), float(total.max())
    return ((total - low) / (high - low + 1e-6)).astype(np.float32)


def _through(knots: Floats, positions: Floats) -> Floats:
    """A smooth curve through ``knots``, one at each whole number."""
    whole = np.floor(positions).astype(np.int64)
    share = positions - whole
    a, b, c, d = (knots[np.clip(whole + step, 0, len(knots) - 1)] for step in range(4))
    curve = b + 0.5 * share * (c - a + share * (2 * a - 5 * b + 4 * c - d + share * (3 * (b - c) + d - a)))
    return curve.astype(np.float32)
