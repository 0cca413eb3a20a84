"""Movement in a shot: its time, the camera over a still image, and small things that float about."""

from typing import NamedTuple, Self

import numpy as np
from numpy.random import Generator
from PIL import Image

from framegate.plugins.preview.pixels import parse_hex_color, smoothstep

_FADE_SECONDS = 0.5


def ease(progress: float) -> float:
    """Map 0…1 to 0…1 so that a movement starts and ends at rest."""
    clipped = min(1.0, max(0.0, progress))
    return clipped * clipped * (3.0 - 2.0 * clipped)


class Moment(NamedTuple):
    """One frame's place in its shot.

    ``presence`` (0…1) is how visible captions, shake and the like are: they are gone in a video's last frame,
    from which another shot may continue, and fade in where one does.
    """

    frame: int = 0
    progress: float = 0.4
    seconds: float = 2.4
    presence: float = 1.0

    @classmethod
    def of(cls, index: int, count: int, fps: float, *, continues: bool) -> Self:
        """Return the moment of frame ``index`` of ``count``; the defaults are what a single image shows."""
        fade = max(1.0, min(_FADE_SECONDS * fps, count / 4))
        presence = ease((count - 1 - index) / fade) if count > 1 else 1.0
        if continues:
            presence *= ease(index / fade)
        return cls(index, index / max(count - 1, 1), index / fps, presence)


class Camera:
    """A move into an image, chosen at random: what is lower in it is taken for nearer and moves further.

    The view only zooms in, so no pixel outside the image is ever needed, and what lies along the edges (the
    caption of the shot before) leaves the frame.
    """

    def __init__(self, image: Image.Image, rng: Generator, seconds: float) -> None:
        self._image, self._zoom = image, min(0.09 + 0.014 * seconds, 0.2)
        self._x, self._y, sway = rng.uniform((0.2, 0.3, -0.95), (0.8, 0.7, 0.95)).tolist()
        self._aside = self._x + sway * min(self._x, 1.0 - self._x)

    def view(self, progress: float) -> Image.Image:
        """Return what the camera sees at ``progress`` (0…1): the whole image at 0, the move's end at 1."""
        way = ease(progress)
        if way <= 0.0:
            return self._image
        width, height = self._image.size
        far, near = (1.0 - 1.0 / (1.0 + self._zoom * way * pace) for pace in (0.6, 1.3))
        left, right = width * far * self._x, width * (1.0 - far * (1.0 - self._x))
        near_left, near_right = width * near * self._aside, width * (1.0 - near * (1.0 - self._aside))
        top, bottom = height * far * self._y, height * (1.0 - near * (1.0 - self._y))
        corners = (left, top, near_left, bottom, near_right, bottom, right, top)
        quad, bilinear = Image.Transform.QUAD, Image.Resampling.BILINEAR
        return self._image.transform((width, height), quad, corners, bilinear)


class ParticleSpec(NamedTuple):
    """A kind of particle.

    ``colors`` are hex codes; ``largest`` (radius) and ``velocity`` (per second) are shares of the shorter
    side; ``soft`` 1 is a blurred dot, 0 a disc; ``twinkle`` (0…1) is how far it fades.
    """

    colors: str
    number: int
    largest: float
    velocity: tuple[float, float]
    soft: float = 0.9
    opacity: float = 0.8
    twinkle: float = 0.0


class Particles:
    """Particles over a frame; bigger ones are nearer, which makes them faster and fainter."""

    def __init__(self, rng: Generator, size: tuple[int, int], spec: ParticleSpec) -> None:
        unit, number = min(size), spec.number
        near = rng.random(number) ** 2.2
        radius = np.maximum(0.8, unit * spec.largest * (0.15 + 0.85 * near))
        solid = np.maximum(radius - np.maximum(radius * spec.soft, 1.0), 0.0)
        self._reach = (radius**2).astype(np.float32)[:, None, None]
        self._edge = (radius**2 - solid**2).astype(np.float32)[:, None, None]
        self._side = 2 * int(np.ceil(radius.max())) + 3
        self._span = np.array(size) + self._side
        self._start = rng.random((number, 2)) * self._span
        self._velocity = np.array(spec.velocity) * unit * (0.45 + 0.9 * near)[:, None]
        self._phase, self._pace = rng.uniform(0.0, 2 * np.pi, number), rng.uniform(0.5, 1.4, number)
        self._sway = unit * rng.uniform(0.01, 0.03, (number, 1)) * np.array([1.0, 0.5])
        self._opacity, self._twinkle = spec.opacity * (1.0 - 0.55 * near), spec.twinkle
        colors = [parse_hex_color(code) for code in spec.colors.split()]
        choices: list[int] = rng.integers(len(colors), size=number).tolist()
        self._colors = [colors[choice] for choice in choices]

    def draw(self, canvas: Image.Image, seconds: float, presence: float = 1.0) -> None:
        """Draw the particles as they are after ``seconds``, their opacity scaled by ``presence`` (0…1)."""
        turn = self._phase + seconds * self._pace
        swing = np.stack([np.sin(turn), np.cos(turn)], axis=-1) * self._sway
        corners = (self._start + self._velocity * seconds + swing) % self._span - self._side
        pixels = np.floor(corners)
        offsets = np.arange(self._side) + 0.5 - self._side / 2 - (corners - pixels)[..., None]
        squares = (offsets**2).astype(np.float32)
        shares = (self._reach - squares[:, 0, None, :] - squares[:, 1, :, None]) / self._edge
        shine = self._opacity * (1.0 - self._twinkle * (0.5 + 0.5 * np.sin(turn * 2.3))) * presence
        masks = smoothstep(0.0, 1.0, shares) * (255.0 * shine).astype(np.float32)[:, None, None]
        places: list[tuple[int, int]] = pixels.astype(int).tolist()
        for color, (x, y), mask in zip(self._colors, places, masks.astype(np.uint8), strict=True):
            canvas.paste(color, (x, y), Image.fromarray(mask))
