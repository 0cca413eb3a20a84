"""Water that mirrors what is above it, with ripples and glitter."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from framegate.plugins.preview.colours import Colour
from framegate.plugins.preview.motion import Floats, smoothstep
from framegate.plugins.preview.noise import field, sampled

Bytes = NDArray[np.uint8]

_TURN = np.arange(256) * (2.0 * np.pi / 256.0)
_WAVE = np.round(63.0 * np.sin(_TURN)).astype(np.int16)
_CRESTS = np.linspace(-1.0, 1.0, 256)
_GLINT = (255.0 * np.clip((_CRESTS - 0.34) / 0.5, 0.0, 1.0) ** 1.3).astype(np.uint8)


class Water:
    """Fills a canvas below ``horizon``. Phases are bytes, 256 to the turn, so that time is one addition."""

    def __init__(
        self,
        rng: np.random.Generator,
        width: int,
        height: int,
        horizon: int,
        *,
        tint: Colour,
        depth: float,
        light: Colour,
        light_x: float,
        chop: float,
    ) -> None:
        self._width = width
        self._horizon = horizon
        rows = height - horizon
        near = (np.arange(rows, dtype=np.float32)[:, None] + 1.0) / np.float32(rows)
        columns = np.arange(width, dtype=np.float32)[None, :]

        self._phases = [self._phase(rng, min(width, height), near, columns, tilt) for tilt in (0.7, -1.1)]
        self._swing = np.round((0.4 + near * height * 0.045 * chop) * 8).astype(np.int16)
        ratio = min(1.0, (horizon - 1) / rows)
        self._mirrored = (horizon - 1 - np.arange(rows, dtype=np.float32)[:, None] * ratio).astype(np.int16)
        self._columns = np.arange(width, dtype=np.intp)[None, :]

        self._tint = Image.new("RGB", (width, rows), tint)
        murk = np.clip(0.08 + depth * near**0.8, 0.0, 0.92) + np.zeros_like(columns)
        self._murk = Image.fromarray((murk * 255.0).astype(np.uint8))
        spread = width * (0.035 + 0.16 * near)
        beam = np.exp(-(((columns - light_x) / spread) ** 2)) * (1.0 - 0.6 * near)
        everywhere = 0.08 * (1.0 - smoothstep(0.0, 0.8, near))
        self._beam = Image.fromarray((255.0 * np.clip(beam + everywhere, 0.0, 1.0)).astype(np.uint8))
        self._light = Image.new("RGB", (width, rows), light)

    def _phase(
        self,
        rng: np.random.Generator,
        unit: int,
        near: Floats,
        columns: Floats,
        tilt: float,
    ) -> Bytes:
        """Crests that crowd towards the horizon, bent by noise in the same perspective."""
        tile = field(rng, 256, 256, smoothness=1.35)
        distance = 1.0 / (near + 0.09)
        across = (columns - self._width / 2) * (distance * (26.0 / unit))
        along = 60.0 * np.log(near + 0.04) + np.zeros_like(columns)
        bend = sampled(tile, along, across)
        turns = 8.0 * np.log(near + 0.04) + 2.6 * bend + tilt * across / 160.0
        steps: NDArray[np.int64] = (turns * 256.0).astype(np.int64) & 255
        return steps.astype(np.uint8)

    def draw(self, canvas: Image.Image, seconds: float) -> None:
        above = canvas.crop((0, 0, self._width, self._horizon)).convert("RGBA")
        pixels = np.frombuffer(above.tobytes(), dtype=np.uint32)
        first = self._phases[0] + np.uint8(int(seconds * 150.0) & 255)
        second = self._phases[1] - np.uint8(int(seconds * 105.0) & 255)
        wave = np.take(_WAVE, first) + np.take(_WAVE, second)
        source = self._mirrored + ((wave * (self._swing >> 1)) >> 9)
        np.clip(source, 0, self._horizon - 1, out=source)
        index = source.astype(np.intp) * self._width + self._columns
        mirrored = np.take(pixels, index).view(np.uint8).reshape(*index.shape, 4)
        surface = Image.fromarray(mirrored).convert("RGB")
        surface.paste(self._tint, (0, 0), self._murk)
        glint = Image.fromarray(np.take(_GLINT, (wave + 127).astype(np.uint8)))
        surface.paste(self._light, (0, 0), ImageChops.multiply(glint, self._beam))
        canvas.paste(surface, (0, self._horizon))
