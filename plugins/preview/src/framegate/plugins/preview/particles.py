"""Small things in the air: snow, bokeh, fireflies, petals, dust."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from framegate.plugins.preview.colours import Colour

_STEPS = 4
"""Sprites are kept at this many places between two pixels, so that slow ones glide."""
_SHADES = 12


@dataclass(frozen=True, slots=True)
class Swarm:
    """What floats about. Sizes and speeds are fractions of the frame's shorter side (per second).

    ``softness`` 1 is a blurred dot, 0.1 a crisp disc; ``twinkle`` is how far it comes and goes.
    """

    colours: tuple[Colour, ...]
    count: int
    smallest: float
    largest: float
    velocity: tuple[float, float]
    sway: float = 0.02
    softness: float = 0.6
    opacity: float = 0.8
    twinkle: float = 0.0


class Particles:
    """A swarm over a frame. Bigger ones are nearer: faster and fainter."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, swarm: Swarm) -> None:
        unit = min(width, height)
        share = rng.random(swarm.count) ** 2.2
        self._swarm = swarm
        self._radius = np.maximum(0.7, unit * (swarm.smallest + (swarm.largest - swarm.smallest) * share))
        self._margin = float(self._radius.max()) + 2.0
        self._span = np.array([width + 2 * self._margin, height + 2 * self._margin])
        self._start = rng.random((swarm.count, 2)) * self._span
        self._velocity = np.array(swarm.velocity) * unit * (0.45 + 0.9 * share)[:, None]
        self._sway = unit * swarm.sway * rng.uniform(0.4, 1.0, swarm.count)
        self._phase = rng.uniform(0.0, 2 * np.pi, swarm.count)
        self._pace = rng.uniform(0.5, 1.4, swarm.count)
        self._opacity = swarm.opacity * (1.0 - 0.55 * share)
        self._colours = [
            swarm.colours[int(pick)] for pick in rng.integers(0, len(swarm.colours), swarm.count)
        ]
        self._sprites: dict[tuple[int, int, int, int], Image.Image] = {}

    def draw(self, canvas: Image.Image, seconds: float, presence: float = 1.0) -> None:
        turn = self._phase + seconds * self._pace
        place = self._start + self._velocity * seconds
        place[:, 0] += self._sway * np.sin(turn)
        place[:, 1] += self._sway * 0.5 * np.cos(turn * 0.83)
        place = place % self._span - self._margin
        glow = 1.0 - self._swarm.twinkle * (0.5 + 0.5 * np.sin(turn * 2.3))
        shades = np.round(np.clip(self._opacity * glow * presence, 0.0, 1.0) * _SHADES).astype(int)
        for number in np.flatnonzero(shades).tolist():
            radius = float(self._radius[number])
            x, y = (float(value) - radius - 1.0 for value in place[number])
            column, row = int(np.floor(x)), int(np.floor(y))
            between = int((x - column) * _STEPS), int((y - row) * _STEPS)
            sprite = self._sprite(number, *between, shade=int(shades[number]))
            canvas.paste(self._colours[number], (column, row), sprite)

    def _sprite(self, number: int, right: int, down: int, *, shade: int) -> Image.Image:
        known = self._sprites.get((number, right, down, shade))
        if known is None:
            radius = float(self._radius[number])
            side = int(np.ceil(radius * 2.0)) + 3
            grid = np.arange(side) + 0.5
            distance = np.hypot(
                grid[None, :] - (radius + 1.0 + right / _STEPS),
                grid[:, None] - (radius + 1.0 + down / _STEPS),
            )
            edge = max(1.0, radius * self._swarm.softness)
            alpha = np.clip((radius - distance) / edge + 0.5 * (edge <= 1.0), 0.0, 1.0)
            known = Image.fromarray(
                (alpha * alpha * (3 - 2 * alpha) * 255.0 * shade / _SHADES).astype(np.uint8)
            )
            self._sprites[number, right, down, shade] = known
        return known
