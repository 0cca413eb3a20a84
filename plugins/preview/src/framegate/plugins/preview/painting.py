"""Painters of what a landscape consists of: sky, clouds, land, and space."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from framegate.plugins.preview.pixels import (
    WHITE,
    Floats,
    Palette,
    blend,
    mix,
    outline,
    parse_hex_color,
    ramp,
    smoothstep,
    texture,
    to_image,
    to_mask,
)

_LAMPS = tuple(parse_hex_color(code) for code in ("ffb46e", "ffd68c", "ffecc4", "b0d6ff"))
_FINE = 3
"""Columns that are computed for each one of a silhouette, to smooth steep edges."""


class Stage(NamedTuple):
    """What painters share: the area's size in pixels, the frame's shorter side (``unit``), and the light."""

    rng: Generator
    width: int
    height: int
    unit: int
    palette: Palette
    night: bool

    def around(self, x: float, y: float) -> tuple[Floats, Floats]:
        """Return how far below (a column) and right (a row) of a point the pixels lie."""
        return np.arange(self.height)[:, None] + 0.5 - y, np.arange(self.width)[None, :] + 0.5 - x


class Ridge(NamedTuple):
    """A layer of land.

    ``crest`` is where it is highest, as a share of the frame's height; ``drop`` (from there to its lowest
    crest), ``pines`` and ``towers`` (how tall they are) are shares of the shorter side. ``depth`` 0 lies in
    the far haze, 1 before the camera; ``roughness`` 0 is a dune, 1 a craggy mountain. ``relief`` (0…1) is how
    far its sunny sides are lit, ``snow`` how far down its drop it is white.
    """

    crest: float
    drop: float
    depth: float
    waves: float = 2.6
    roughness: float = 0.3
    relief: float = 0.1
    snow: float = 0.0
    pines: float = 0.0
    towers: float = 0.0


def paint_sky(stage: Stage, horizon: int, sun: tuple[float, float]) -> Image.Image:
    """Return the sky with its sun or moon, and stars at night."""
    palette, night = stage.palette, stage.night
    down = np.minimum(np.arange(stage.height) / horizon, 1.0)
    sky = np.repeat(ramp((palette.zenith, palette.sky, palette.horizon), down)[:, None], stage.width, axis=1)
    sky = blend(sky, WHITE, 0.8 * _stars(stage)) if night else sky
    distance = np.hypot(*stage.around(*sun)) / stage.unit
    wide, close = (0.16, 0.35) if night else (0.42, 0.6)
    glow = wide * np.exp(-distance / 0.42) + close * np.exp(-((distance / 0.15) ** 2))
    sky = blend(sky, palette.light, np.clip(glow, 0.0, 1.0))
    disc = np.clip((0.055 - distance) * stage.unit + 0.5, 0.0, 1.0)
    return to_image(blend(sky, mix(palette.light, WHITE, 0.35), disc), stage.rng)


def _stars(stage: Stage) -> Floats:
    """Return stars as shares of white (0…1)."""
    shine = stage.rng.random((stage.height, stage.width))
    stars = to_mask(np.where(shine < 0.0013, (shine / 0.0013) ** 3, 0.0))
    blurred = stars.filter(ImageFilter.GaussianBlur(max(0.5, stage.unit / 900)))
    shares: Floats = np.minimum(np.asarray(blurred, np.float32) / 80.0, 1.0)
    return shares


def paint_space(stage: Stage) -> Image.Image:
    """Return stars, and a band of glowing gas behind a planet that is lit from one side."""
    rng, width, height, unit, palette, _ = stage
    radius = 0.21 * unit
    below, right = stage.around(width * rng.uniform(0.25, 0.75), height * rng.uniform(0.35, 0.55))
    below, right = below / radius, right / radius
    band = np.exp(-(((below + right * rng.uniform(-0.6, 0.6)) / 1.7) ** 2))
    lanes, *gases = (texture(rng, (height, width), 1.6, cells=320) for _ in range(3))
    space = np.full((height, width, 3), palette.zenith, np.float32)
    for color, gas in zip((palette.near, palette.cloud), gases, strict=True):
        shine = smoothstep(0.3, 1.2, gas * (0.3 + band)) * (1.0 - 0.8 * smoothstep(0.5, 0.9, lanes))
        space = blend(space, color, shine)
    space = blend(space, WHITE, _stars(stage))
    distance, slant = np.hypot(below, right), 0.64 * right - 0.51 * below
    facing = np.sqrt(np.clip(1.0 - distance**2, 0.0, 1.0))
    latitude = np.clip(below + 0.35 * right - 0.15 * facing, -1.2, 1.2)
    bands = outline(rng, 512, 7.0, 0.9)[(256 + 210 * latitude).astype(np.int64)]
    surface = ramp((mix(palette.near, palette.zenith, 0.5), palette.light), bands)
    surface *= (0.03 + np.clip(slant + 0.57 * facing, 0.0, 1.0))[..., None]
    space = blend(space, surface, np.clip((1.0 - distance) * radius + 0.5, 0.0, 1.0))
    rim = 0.5 * np.exp(-np.abs(distance - 1.0) / 0.07) * np.clip(slant, 0.0, 1.0)
    return to_image(blend(space, mix(palette.cloud, WHITE, 0.5), rim), rng)


def paint_clouds(stage: Stage, cover: float) -> Image.Image:
    """Return clouds that tile sideways and take about ``cover`` (0…1) of the sky."""
    rng, width, height, _, palette, night = stage
    density = texture(rng, (height, width), 1.75, cells=420, stretch=2.2)
    rising = density - np.roll(density, (max(1, height // 28), height // 40), axis=(0, 1))
    rows = np.linspace(0.0, 1.0, height)[:, None]
    fading = smoothstep(-0.12, 0.18, rows) * (1.0 - smoothstep(0.72, 1.0, rows))
    alpha = smoothstep(1.0 - cover, 1.42 - cover, density) * fading * (0.6 if night else 0.88)
    dark = mix(mix(palette.sky, palette.horizon, 0.4), palette.cloud, 0.35)
    return to_image(ramp((dark, palette.cloud), 0.62 + 3.2 * rising), rng, alpha)


def paint_ridge(stage: Stage, ridge: Ridge, bottom: int) -> tuple[Image.Image, int]:
    """Return a ridge down to row ``bottom``, and its uppermost row."""
    rng, width, height, unit, palette, _ = stage
    profile = outline(rng, width * _FINE, ridge.waves * width / (2.2 * unit), ridge.roughness)
    crests = ridge.crest * height + ridge.drop * unit * (1.0 - profile)
    ground, pitch = crests[::_FINE], max(3, round(unit / 84))
    if ridge.pines:
        crests = crests - _pines(rng, len(crests), ridge.pines * unit)
    if ridge.towers:
        crests = crests - _towers(rng, len(crests), ridge.towers * unit, pitch)
    top = int(np.clip(crests.min() - 2, 0, bottom - 2))
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    alpha = np.clip(rows + 0.5 - crests.astype(np.float32), 0.0, 1.0).reshape(-1, width, _FINE).mean(axis=-1)

    # The crest's ups and downs run down the hill as sunny and shady sides.
    depth, rough = rows - ground, ridge.roughness
    slope = np.gradient(np.convolve(np.pad(ground, 9, mode="edge"), np.full(19, 1 / 19), "valid"))
    bumps = texture(rng, (len(rows), width), 1.5) - 0.5
    source = np.arange(width) + depth * (0.42 if rough else 1.5) + bumps * (0.2 * unit * rough)
    facing = slope[np.clip(source, 0, width - 1).astype(np.int64)] + bumps * (0.6 * rough)
    lit = smoothstep(-0.35, 0.35, facing) if rough else smoothstep(-0.06, 0.06, facing)

    haze, light = mix(palette.horizon, palette.sky, 0.35), mix(palette.light, palette.horizon, 0.25)
    mist = mix(haze, palette.near, 0.5 * ridge.depth**2)
    colors = blend(mix(haze, palette.near, 0.15 + 0.85 * ridge.depth), light, ridge.relief * lit)
    down = rows - ground.min()
    if ridge.snow:
        line = down / (ridge.drop * unit) + 0.9 * bumps - ridge.snow
        snow = blend(mix(mist, palette.zenith, 0.25), light, 0.25 + 0.75 * lit)
        colors = blend(colors, snow, 0.92 - 0.92 * smoothstep(-0.12, 0.12, line))
    colors = blend(colors, mist, 0.85 * smoothstep(0.0, 1.0, down / max(bottom - ground.min(), 1.0)))
    if ridge.towers:
        y, x = np.arange(len(rows))[:, None], np.arange(width)[None, :]
        windows = rng.random((len(rows) // pitch + 1, width // pitch + 1))[y // pitch, x // pitch]
        panes = (y % pitch >= pitch // 2) & (x % pitch >= pitch // 2) & (rows - crests[1::_FINE] > pitch)
        lit = np.where(panes & (windows < 0.1 + 0.2 * ridge.depth), 0.9, 0.0)
        colors = blend(colors, ramp(_LAMPS, windows * 5.0 % 1.0), lit)
    return to_image(colors, rng, alpha), top


def _pines(rng: Generator, columns: int, tall: float) -> Floats:
    """Return how high a row of pines stands in every (fine) column."""
    heights, place = np.zeros(columns), 0.0
    while place < columns:
        size = tall * rng.uniform(0.45, 1.0)
        reach = size * rng.uniform(0.17, 0.23) * _FINE
        spots = np.arange(max(0, int(place - reach)), min(columns, int(place + reach) + 1))
        tiers = 7.0 * np.clip(1.0 - np.abs(spots - place) / reach, 0.0, 1.0)
        heights[spots] = np.maximum(heights[spots], size * (np.floor(tiers) + 0.4 * (tiers % 1.0)) / 7.0)
        place += max(1.0, _FINE * tall * (0.9 if rng.random() < 0.06 else rng.uniform(0.1, 0.34)))
    return heights


def _towers(rng: Generator, columns: int, tall: float, pitch: int) -> Floats:
    """Return how high a row of buildings is in every (fine) column; their sides are some windows wide."""
    count = columns // (4 * pitch * _FINE) + 1
    heights = tall * (0.3 + 0.7 * outline(rng, count, 6.0, 0.2)) * rng.uniform(0.4, 1.0, count)
    return np.repeat(heights // pitch * pitch, rng.integers(4, 11, count) * pitch * _FINE)[:columns]
