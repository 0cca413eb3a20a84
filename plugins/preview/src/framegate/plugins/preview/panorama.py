"""Scenes made of layers: the camera travels sideways past them, near ones faster."""

from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from framegate.plugins.preview.boat import Boat
from framegate.plugins.preview.layers import Layer
from framegate.plugins.preview.motion import Moment, ease
from framegate.plugins.preview.particles import Particles
from framegate.plugins.preview.water import Water


class Scene(Protocol):
    def draw(self, moment: Moment) -> Image.Image:
        """A new RGB picture of the scene at that moment."""
        ...


@dataclass(frozen=True, slots=True)
class Glow:
    """Light that spills over whatever stands before the sun: one colour, and a mask of how much of it."""

    light: Image.Image
    mask: Image.Image


@dataclass(slots=True)
class Panorama:
    """``way`` is how far the camera travels in pixels, to the left where it is negative."""

    sky: Image.Image
    way: float
    layers: list[Layer] = field(default_factory=list[Layer])
    boat: Boat | None = None
    water: Water | None = None
    glow: Glow | None = None
    swarms: list[Particles] = field(default_factory=list[Particles])

    def draw(self, moment: Moment) -> Image.Image:
        progress = ease(moment.progress)
        travelled = abs(self.way) * (progress if self.way >= 0 else 1.0 - progress)
        canvas = self.sky.copy()
        for layer in self.layers:
            layer.draw(canvas, travelled, moment.seconds)
        if self.boat:
            self.boat.draw(canvas, travelled, moment.seconds)
        if self.glow:
            canvas.paste(self.glow.light, (0, 0), self.glow.mask)
        if self.water:
            self.water.draw(canvas, moment.seconds)
        for swarm in self.swarms:
            swarm.draw(canvas, moment.seconds)
        return canvas
