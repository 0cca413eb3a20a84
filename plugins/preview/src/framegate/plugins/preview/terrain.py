"""Land: ridges of hills, mountains and dunes, with pines and snow."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from framegate.plugins.preview.colours import Colour, as_floats
from framegate.plugins.preview.layers import Layer, with_alpha
from framegate.plugins.preview.motion import Floats, smoothstep
from framegate.plugins.preview.noise import outline, texture


@dataclass(frozen=True, slots=True)
class Ridge:
    """How a ridge looks. ``crest`` is where its highest point lies, as a fraction of the frame's height;
    ``amplitude`` and ``pines`` are fractions of its shorter side.

    ``mist`` is the colour that it fades to below, ``light`` the one its sunny sides take on as far as
    ``relief`` (0…1) says; ``snow`` is the share of it under snow, ``pines`` the height of its trees.
    """

    crest: float
    amplitude: float
    waves: float
    roughness: float
    colour: Colour
    mist: Colour
    light: Colour
    fog: float = 0.7
    relief: float = 0.0
    snow: float = 0.0
    pines: float = 0.0


def paint_ridge(
    rng: np.random.Generator, ridge: Ridge, width: int, height: int, bottom: int, unit: int, speed: float
) -> Layer:
    """A ridge over ``width`` columns, down to row ``bottom`` of a frame ``height`` rows high.

    ``unit`` is the frame's shorter side.
    """
    profile = 1.0 - outline(rng, width, ridge.waves * width / (2.2 * unit), ridge.roughness)
    highest, relief = ridge.crest * height, ridge.amplitude * unit
    crests = np.float32(highest) + np.float32(relief) * profile
    tree_height = ridge.pines * unit
    top = int(min(max(0.0, crests.min() - tree_height - 2), bottom - 2))
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    depth = rows - crests[None, :]
    alpha: Floats = np.clip(depth + np.float32(0.5), 0.0, 1.0)
    if ridge.pines:
        trees = _pines(rng, crests - top, bottom - top, tree_height)
        alpha = np.maximum(alpha, trees)

    reach = max(1.0, bottom - highest)
    fog = smoothstep(0.0, 1.0, (rows - np.float32(highest)) / np.float32(reach)) * np.float32(ridge.fog)
    colours = as_floats(ridge.colour) + np.zeros((*depth.shape, 1), np.float32)
    if ridge.relief or ridge.snow:
        lit = _sunny_sides(rng, crests, depth, unit, ridge.roughness)
        if ridge.snow:
            grain = texture(rng, *depth.shape, smoothness=1.3)
            line = (rows - np.float32(highest)) / np.float32(relief) + 0.9 * (grain - 0.5)
            white = (1.0 - smoothstep(ridge.snow - 0.12, ridge.snow + 0.12, line))[..., None]
            shaded = as_floats(ridge.mist) * np.float32(0.82)
            snow = shaded + (as_floats(ridge.light) - shaded) * (0.25 + 0.75 * lit[..., None])
            colours += (snow - colours) * white * np.float32(0.92)
        colours += (as_floats(ridge.light) - colours) * (lit * np.float32(ridge.relief))[..., None]
    colours += (as_floats(ridge.mist) - colours) * fog[..., None]
    return Layer(with_alpha(colours, alpha, rng), top, speed)


def _sunny_sides(
    rng: np.random.Generator, crests: Floats, depth: Floats, unit: int, roughness: float
) -> Floats:
    """Which parts of a slope the light falls on, 0…1: the crest's own ups and downs run down the hill."""
    window = max(3, len(crests) // 90)
    slope = np.gradient(np.convolve(np.pad(crests, window, mode="edge"), np.ones(window) / window, "same"))
    slope = slope[window : window + len(crests)]
    columns = np.arange(len(crests), dtype=np.float32)[None, :]
    bumps = texture(rng, *depth.shape, smoothness=1.5) - np.float32(0.5)
    source = (
        columns + depth * np.float32(0.42 if roughness else 1.5) + bumps * np.float32(unit * 0.2 * roughness)
    )
    facing = slope[np.clip(source, 0, len(crests) - 1).astype(np.int64)].astype(np.float32)
    edge = 0.35 if roughness else 0.06
    return smoothstep(-edge, edge, facing + bumps * np.float32(0.6 * roughness))


def _pines(rng: np.random.Generator, crests: Floats, rows: int, tall: float) -> Floats:
    """The coverage of a row of pines that stand on ``crests``."""
    fine = 2
    width = len(crests)
    canvas = Image.new("L", (width * fine, rows * fine), 0)
    draw = ImageDraw.Draw(canvas)
    column = 0.0
    while column < width:
        size = tall * float(rng.uniform(0.45, 1.0))
        foot = float(crests[min(int(column), width - 1)]) + size * 0.06
        draw.polygon([(x * fine, y * fine) for x, y in _pine(rng, column, foot, size)], fill=255)
        gap = 0.9 if rng.random() < 0.06 else float(rng.uniform(0.1, 0.34))
        column += max(1.0, tall * gap)
    return np.asarray(canvas.reduce(fine), dtype=np.float32) / np.float32(255.0)


def _pine(rng: np.random.Generator, x: float, foot: float, size: float) -> list[tuple[float, float]]:
    tiers = 7
    breadth = size * float(rng.uniform(0.17, 0.23))
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for tier in range(1, tiers + 1):
        share = tier / tiers
        y = foot - size * (1.0 - share)
        for side, points in ((-1, left), (1, right)):
            reach = breadth * share * float(rng.uniform(0.8, 1.12))
            points.append((x + side * reach, y + size * 0.02))
            points.append((x + side * reach * 0.5, y - size * 0.012))
    return [(x, foot - size), *right, (x + breadth * 0.1, foot), (x - breadth * 0.1, foot), *reversed(left)]
