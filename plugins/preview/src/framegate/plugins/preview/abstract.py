"""Flowing silk of light, for prompts that name no place."""

import numpy as np
from PIL import Image

from framegate.plugins.preview.colours import Colour, as_floats, hexed
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.particles import Particles, Swarm
from framegate.plugins.preview.stage import Stage

_RAMPS: tuple[tuple[Colour, ...], ...] = tuple(
    tuple(hexed(code) for code in ramp.split())
    for ramp in (
        "0d1030 2b2f77 7a3f9d e0607e ffb88a fff0d0",
        "071a24 0f4c5c 1f8a8c 7fc8a9 f2e8b8 fff8e6",
        "1a0b2e 55206b b5386f f0705a ffc16b fff3cf",
        "0a1128 1c3f7c 3f7fc0 8fc1e8 f3d9e0 fffaf2",
        "140f1f 40304f 8a5a6b d69a7a f2d3a0 fbf3dc",
    )
)
_SHRINK = 5


class Silk:
    """Folds of cloth, computed small and enlarged: it is soft anyway."""

    def __init__(self, stage: Stage) -> None:
        rng = stage.random("silk")
        self._size = stage.width, stage.height
        rows = max(16, stage.height // _SHRINK)
        columns = max(16, stage.width // _SHRINK)
        unit = min(rows, columns)
        angle = float(rng.uniform(-0.6, 0.6))
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / np.float32(unit)
        self._x = (x * np.cos(angle) - y * np.sin(angle)).astype(np.float32)
        self._y = (x * np.sin(angle) + y * np.cos(angle)).astype(np.float32)
        self._turns = rng.uniform(0.0, 2 * np.pi, 6).astype(np.float32)
        self._pace = rng.uniform(0.7, 1.3, 6).astype(np.float32) * np.float32(0.45)
        ramp = np.array([as_floats(c) for c in _RAMPS[int(rng.integers(0, len(_RAMPS)))]])
        places = np.linspace(0.0, 1.0, len(ramp))
        steps = np.linspace(0.0, 1.0, 1024)
        self._ramp = np.stack([np.interp(steps, places, ramp[:, c]) for c in range(3)], axis=-1).astype(
            np.uint8
        )
        bokeh = Swarm(
            ((255, 250, 235), (255, 236, 214)),
            count=22,
            smallest=0.006,
            largest=0.06,
            velocity=(0.015, -0.02),
            sway=0.04,
            softness=0.18,
            opacity=0.34,
            twinkle=0.6,
        )
        self._bokeh = Particles(rng, stage.width, stage.height, bokeh)

    def draw(self, moment: Moment) -> Image.Image:
        a, b, c, d, e, f = (float(v) for v in self._turns + self._pace * np.float32(moment.seconds))
        x, y = self._x, self._y
        bend = np.sin(2.1 * x + a) * 0.45 + np.sin(1.3 * x - 1.1 * y + b) * 0.5
        fold = np.sin(5.2 * y + 2.6 * bend + c)
        sheen = np.sin(3.1 * y - 1.9 * x + 2.2 * bend + 0.8 * fold + d)
        shade = 0.47 + 0.2 * fold + 0.2 * sheen + 0.09 * np.sin(9.0 * y + 5.0 * bend + 1.4 * sheen + e)
        shade += 0.06 * np.sin(1.7 * x + 0.9 * y + f)
        small = self._ramp[np.clip(shade * 1023.0, 0, 1023).astype(np.int16)]
        canvas = Image.fromarray(small).resize(self._size, Image.Resampling.BICUBIC)
        self._bokeh.draw(canvas, moment.seconds)
        return canvas
