"""Skies: the gradient with its sun, moon and stars, and clouds that drift over it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from framegate.plugins.preview.colours import Palette, as_floats, mix
from framegate.plugins.preview.layers import Layer, quantised, with_alpha
from framegate.plugins.preview.motion import Floats, smoothstep
from framegate.plugins.preview.noise import texture


@dataclass(frozen=True, slots=True)
class Light:
    """The sun or moon: its centre and radius in pixels."""

    x: float
    y: float
    radius: float

    def distance(self, width: int, height: int) -> Floats:
        rows = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - self.y)
        columns = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5 - self.x)
        distance: Floats = np.hypot(rows, columns)
        return distance


def gradient(palette: Palette, height: int, horizon: int) -> Floats:
    """The sky's colour at each row, as (height, 1, 3)."""
    rows = np.arange(height, dtype=np.float32) / max(horizon, 1)
    stops = (0.0, 0.58, 1.0)
    colours = (palette.zenith, palette.sky, palette.horizon)
    channels = [np.interp(rows, stops, [colour[channel] for colour in colours]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)[:, None, :]


def paint_sky(
    rng: np.random.Generator, width: int, height: int, horizon: int, palette: Palette, light: Light
) -> Image.Image:
    """The sky behind everything else, which doesn't move."""
    unit = min(width, height)
    sky = np.repeat(gradient(palette, height, horizon), width, axis=1)
    if palette.night:
        sky += starfield(rng, width, height, density=0.0011)[..., None] * np.float32(210.0)
        haze = texture(rng, height, width, smoothness=1.6)
        sky *= (0.86 + 0.28 * haze)[..., None]
    distance = light.distance(width, height)
    wide, close = (0.16, 0.35) if palette.night else (0.42, 0.6)
    glow = wide * np.exp(-distance / (unit * 0.42)) + close * np.exp(
        -((distance / (light.radius * 2.6)) ** 2)
    )
    sky += (as_floats(palette.light) - sky) * np.clip(glow, 0.0, 1.0)[..., None]
    disc = np.clip(light.radius - distance + 0.5, 0.0, 1.0)
    if palette.night:
        spots = texture(rng, height, width, smoothness=1.5)
        disc *= 0.82 + 0.18 * smoothstep(0.3, 0.6, spots)
    sky += (as_floats(mix(palette.light, (255, 255, 255), 0.35)) - sky) * disc[..., None]
    return Image.fromarray(quantised(sky, rng))


def starfield(rng: np.random.Generator, width: int, height: int, density: float) -> Floats:
    """Stars on black in 0…1, a few of them bright with a soft glow."""
    count = max(1, int(width * height * density))
    faint = np.zeros((height, width), dtype=np.float32)
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    faint[rows, columns] = rng.random(count, dtype=np.float32) ** 3 * 0.9 + 0.08
    bright = np.zeros_like(faint)
    chosen = rng.integers(0, count, max(1, count // 40))
    bright[rows[chosen], columns[chosen]] = 1.0
    radius = max(0.6, min(width, height) / 620)
    glow = _blurred(bright, radius * 1.6)
    points = 2.2 * _blurred(faint, radius * 0.45) + 4.0 * _blurred(bright, radius * 0.6)
    stars: Floats = np.clip(points + 6.0 * glow, 0.0, 1.0)
    return stars.astype(np.float32)


def _blurred(values: Floats, radius: float) -> Floats:
    picture = Image.fromarray((np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))
    return blurred.astype(np.float32) / np.float32(255.0)


def clouds(
    rng: np.random.Generator,
    width: int,
    horizon: int,
    palette: Palette,
    *,
    cover: float,
    scale: float,
    drift: float,
    speed: float,
) -> Layer:
    """A layer of clouds that drifts ``drift`` pixels a second and never ends.

    ``cover`` (0…1) is how much of the sky they take, ``scale`` how big they are.
    """
    period = int(width * 1.6)
    density = texture(rng, horizon, period, detail=420, smoothness=1.75, stretch=2.4 / scale)
    lit = density - np.roll(density, (max(1, horizon // 28), horizon // 40), axis=(0, 1))
    rows = np.linspace(0.0, 1.0, horizon, dtype=np.float32)[:, None]
    fading = smoothstep(0.0, 0.3, rows + 0.12) * (1.0 - smoothstep(0.72, 1.0, rows))
    threshold = 1.0 - cover
    alpha = smoothstep(threshold, threshold + 0.42, density) * fading * (0.6 if palette.night else 0.88)
    shade = np.clip(0.62 + 3.2 * lit, 0.0, 1.0)[..., None]
    dark = as_floats(mix(mix(palette.sky, palette.horizon, 0.4), palette.cloud, 0.35))
    colours = dark + (as_floats(palette.cloud) - dark) * shade
    endless = np.concatenate([np.arange(period), np.arange(width + 2)]) % period
    picture = with_alpha(colours[:, endless].astype(np.float32), alpha[:, endless], rng)
    return Layer(picture, top=0, speed=speed, drift=drift, period=period)
