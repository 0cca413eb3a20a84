"""What all scenes of one shot share: its size, its randomness, its light and how far the camera goes."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from framegate.plugins.preview.colours import PALETTES, Colour, Palette
from framegate.plugins.preview.panorama import Glow, Panorama
from framegate.plugins.preview.seeding import random_for
from framegate.plugins.preview.sky import Light, clouds, paint_sky

AMBIENT = ("dawn", "day", "sunset", "dusk")


@dataclass(frozen=True, slots=True)
class Stage:
    """``hour`` is the time of day that the prompt asks for, or empty."""

    width: int
    height: int
    prompt: str
    seed: int
    duration: float
    hour: str

    @property
    def unit(self) -> int:
        return min(self.width, self.height)

    def random(self, purpose: str) -> np.random.Generator:
        return random_for(purpose, self.prompt, self.seed)

    def palette(self, *hours: str) -> Palette:
        """A palette of the hour asked for, else of one of ``hours``."""
        rng = self.random("palette")
        hour = self.hour or hours[int(rng.integers(0, len(hours)))]
        choices = PALETTES[hour]
        return choices[int(rng.integers(0, len(choices)))]

    @property
    def way(self) -> float:
        """How far the nearest layer travels, with its direction: further in longer shots."""
        far = self.unit * min(0.2 + 0.06 * self.duration, 0.7)
        return float(far if self.random("way").random() < 0.5 else -far)

    @property
    def breadth(self) -> int:
        """How wide a layer must be painted to last for the whole way."""
        return self.width + int(abs(self.way)) + 2

    def light(self, low: float, high: float, horizon: int, size: float = 0.055) -> Light:
        """The sun or moon between two heights (fractions of the sky), off the middle."""
        rng = self.random("light")
        side = 0.30 if rng.random() < 0.5 else 0.70
        x = self.width * (side + float(rng.uniform(-0.1, 0.1)))
        return Light(x, horizon * float(rng.uniform(low, high)), max(1.5, self.unit * size))

    def open_air(
        self, palette: Palette, light: Light, horizon: int, *, cover: float, glow: float = 0.34
    ) -> Panorama:
        """Sky, sun and two layers of clouds: what every outdoor scene begins with."""
        sky = paint_sky(self.random("sky"), self.width, self.height, horizon, palette, light)
        panorama = Panorama(sky, self.way, glow=self._glow(palette.light, light, glow, palette.night))
        for name, scale, pace, share in (
            ("high clouds", 0.7, 0.006, 0.85),
            ("low clouds", 1.15, 0.013, 0.92),
        ):
            panorama.layers.append(
                clouds(
                    self.random(name),
                    self.width,
                    horizon,
                    palette,
                    cover=cover * share,
                    scale=scale,
                    drift=pace * self.unit,
                    speed=0.0,
                )
            )
        return panorama

    def _glow(self, colour: Colour, light: Light, strength: float, night: bool) -> Glow:
        distance = light.distance(self.width, self.height) / np.float32(self.unit)
        spill = strength * (0.45 if night else 1.0) * np.exp(-((distance / 0.34) ** 1.4))
        mask = Image.fromarray((255.0 * np.clip(spill, 0.0, 1.0)).astype(np.uint8))
        return Glow(Image.new("RGB", mask.size, colour), mask)
