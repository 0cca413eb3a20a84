"""Landscapes: a sky, layers of land that slide past one another, water, and things in the air."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops

from framegate.plugins.preview import painting
from framegate.plugins.preview.motion import Moment, Particles, ParticleSpec, ease
from framegate.plugins.preview.pixels import Palette, mix, smoothstep, texture, to_mask

_SMALLEST = 64
"""Landscapes are painted at this size at least, and shrunk afterwards."""
_WAVE = np.round(63.0 * np.sin(np.arange(256) * (2.0 * np.pi / 256.0))).astype(np.int16)
_GLINT = (255.0 * np.clip((np.linspace(-1.0, 1.0, 256) - 0.34) / 0.5, 0.0, 1.0) ** 1.3).astype(np.uint8)


class Place(NamedTuple):
    """What a landscape consists of; one without ridges is in space.

    ``horizon`` is a share of the frame's height, ``clouds`` (0…1) how much of the sky they cover, ``chop``
    (from 0) how rough the water is.
    """

    hours: Sequence[str]
    horizon: float
    ridges: Sequence[painting.Ridge]
    particles: ParticleSpec
    clouds: float = 0.45
    chop: float = 0.0


class Landscape:
    """A place past which the camera travels sideways, further in longer shots.

    A layer is an image, its upper edge, its share of the camera's way, and its own drift in pixels a second.
    """

    def __init__(
        self, rng: Generator, place: Place, palette: Palette, size: tuple[int, int], seconds: float
    ) -> None:
        width, height = (max(side, _SMALLEST) for side in size)
        unit, horizon = min(width, height), int(height * place.horizon)
        self._light, self._size, self._way = palette.light, size, unit * min(0.2 + 0.06 * seconds, 0.7)
        self._backwards = rng.random() < 0.5
        stage = painting.Stage(rng, width, height, unit, palette, night=sum(palette.zenith) < 100)
        wide = stage._replace(width=width + int(self._way) + 2)
        sun = width * (rng.choice([0.3, 0.7]) + rng.uniform(-0.1, 0.1)), horizon * rng.uniform(0.35, 0.55)
        if place.ridges:
            self._sky = painting.paint_sky(stage, horizon, sun)
            period = int(width * 1.6)
            clouds = painting.paint_clouds(stage._replace(width=period, height=horizon), place.clouds)
            endless = np.tile(np.asarray(clouds), (1, 2, 1))[:, : period + width + 1]
            self._layers = [(Image.fromarray(endless), 0, 0.0, 0.012 * unit)]
        else:
            self._sky = painting.paint_space(wide)
            self._layers = [(self._sky.convert("RGBA"), 0, 0.25, 0.0)]
        bottom = visible = horizon if place.chop else height
        for ridge in reversed(place.ridges):
            image, top = painting.paint_ridge(wide, ridge, bottom)
            image = image.crop((0, 0, wide.width, max(visible - top, 1)))
            self._layers.insert(1, (image, top, 0.06 + 0.9 * ridge.depth**1.5, 0.0))
            solid = np.asarray(image.getchannel("A")).min(axis=1) == 255
            visible = min(visible, top + int(solid.argmax())) if solid.any() else visible
        spill = np.exp(-((np.hypot(*stage.around(*sun)) / (0.34 * unit)) ** 1.4))
        self._spill = to_mask(spill * (0.38 if place.ridges and not stage.night else 0.12))
        self._water = Water(stage, horizon, sun[0], place.chop) if place.chop else None
        self._particles = Particles(rng, (width, height), place.particles)

    def draw(self, moment: Moment) -> Image.Image:
        """Return a new RGB image of the landscape at that moment."""
        way = ease(moment.progress)
        travelled = self._way * (1.0 - way if self._backwards else way)
        canvas = self._sky.crop((0, 0, *self._spill.size))
        for image, top, speed, drift in self._layers:
            # Between two columns they are mixed, so that slow layers glide.
            offset = (travelled * speed + drift * moment.seconds) % (image.width - canvas.width - 1)
            left, right = int(offset), int(offset) + canvas.width
            visible = image.crop((left, 0, right, image.height))
            visible = Image.blend(visible, image.crop((left + 1, 0, right + 1, image.height)), offset % 1.0)
            canvas.paste(visible, (0, top), visible)
        canvas.paste(self._light, mask=self._spill)
        if self._water:
            self._water.draw(canvas, moment.seconds)
        self._particles.draw(canvas, moment.seconds)
        return canvas if canvas.size == self._size else canvas.resize(self._size, Image.Resampling.BOX)


class Water:
    """Fill a canvas below ``horizon`` with what is above it, mirrored in waves, and with glints of light."""

    def __init__(self, stage: painting.Stage, horizon: int, sun: float, chop: float) -> None:
        rng, width, height, _, palette, _ = stage
        rows = height - horizon
        near = (np.arange(rows, dtype=np.float32)[:, None] + 1.0) / np.float32(rows)
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.0 * near
        # Crests crowd towards the horizon, and noise bends them. Phases are bytes, 256 to the turn, so that
        # time is one addition.
        turns = 8.0 * np.log(near + 0.04) + 2.6 * texture(rng, (rows, width), 1.7, stretch=4.0)
        slant = columns / (160.0 * (near + 0.09))
        phases = (256.0 * (turns + tilt * slant) for tilt in (0.7, -1.1))
        self._first, self._second = ((phase.astype(np.int64) & 255).astype(np.uint8) for phase in phases)
        self._horizon, self._columns = horizon, columns.astype(np.intp)
        self._swing = (1.6 + near * height * 0.18 * chop).astype(np.int16)
        mirrored = horizon - 1 - np.arange(rows)[:, None] * min(1.0, (horizon - 1) / rows)
        self._mirrored = mirrored.astype(np.int16)
        beam = np.exp(-(((columns - sun) / (width * (0.035 + 0.16 * near))) ** 2)) * (1.0 - 0.6 * near)
        self._beam = to_mask(beam + 0.08 * (1.0 - smoothstep(0.0, 0.8, near)))
        self._murk = to_mask(0.08 + (0.3 + 0.3 * chop) * near**0.8 + 0.0 * columns)
        self._tint, self._light = mix(palette.zenith, palette.near, 0.35), palette.light

    def draw(self, canvas: Image.Image, seconds: float) -> None:
        """Draw the water as it is after ``seconds``."""
        above = canvas.crop((0, 0, canvas.width, self._horizon)).convert("RGBA")
        colors = np.frombuffer(above.tobytes(), dtype=np.uint32)
        wave = np.take(_WAVE, self._first + np.uint8(int(seconds * 150.0) & 255))
        wave += np.take(_WAVE, self._second - np.uint8(int(seconds * 105.0) & 255))
        source = np.clip(self._mirrored + ((wave * self._swing) >> 9), 0, self._horizon - 1)
        mirrored = np.take(colors, source.astype(np.intp) * canvas.width + self._columns)
        surface = Image.fromarray(mirrored.view(np.uint8).reshape(*mirrored.shape, 4)).convert("RGB")
        surface.paste(self._tint, mask=self._murk)
        glint = Image.fromarray(np.take(_GLINT, (wave + 127).astype(np.uint8)))
        surface.paste(self._light, mask=ImageChops.multiply(glint, self._beam))
        canvas.paste(surface, (0, self._horizon))
