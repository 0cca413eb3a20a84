"""Colour grading: pictures in another light."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from framegate.plugins.preview.colours import Colour, as_floats, hexed
from framegate.plugins.preview.seeding import random_for

Step = Callable[[Image.Image], Image.Image]

_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Grade:
    """Shadows and highlights are drawn towards their own colours by ``tint`` (0…1).

    ``contrast`` and ``saturation`` are 1 for no change, ``lift`` brightens (in 0…255), ``fade`` (0…1) keeps
    blacks grey and whites soft as old film does.
    """

    shadows: Colour = (128, 128, 128)
    highlights: Colour = (128, 128, 128)
    tint: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    lift: float = 0.0
    fade: float = 0.0

    def step(self) -> Step:
        """The grade, ready to be used on many frames."""
        grey = 1.0 - self.saturation
        red, green, blue = (weight * grey for weight in _WEIGHTS)
        keep = self.saturation
        mixing = (red + keep, green, blue, 0.0, red, green + keep, blue, 0.0, red, green, blue + keep, 0.0)
        table = self._table()

        def graded(picture: Image.Image) -> Image.Image:
            if self.saturation != 1.0:
                picture = picture.convert("RGB", mixing)
            return picture.point(table)

        return graded

    def _table(self) -> list[int]:
        tones = np.arange(256, dtype=np.float32)[:, None]
        share = tones / 255.0
        split = as_floats(self.shadows) * (1 - share) + as_floats(self.highlights) * share - 128.0
        curved = (tones - 128.0) * self.contrast + 128.0 + self.lift + split * np.float32(self.tint)
        faded = curved * (1.0 - 0.3 * self.fade) + 38.0 * self.fade
        return [int(value) for value in np.clip(faded + 0.5, 0, 255).astype(np.uint8).T.ravel()]


_MOODS = tuple(
    Grade(hexed(shadows), hexed(highlights), tint, contrast, saturation)
    for shadows, highlights, tint, contrast, saturation in (
        ("3f6f96", "e0a05c", 0.55, 1.10, 1.12),
        ("3a5f86", "a8c4e8", 0.60, 1.06, 0.82),
        ("7a5468", "f0a878", 0.55, 1.04, 1.18),
        ("4a7a5c", "d0c878", 0.50, 1.06, 1.05),
        ("6a4a9a", "f08aa8", 0.60, 1.08, 1.20),
        ("5a6478", "e8d8b8", 0.45, 1.18, 0.62),
    )
)


def mood_of(prompt: str, seed: int) -> Step:
    """The light that a prompt puts an existing picture into, another one for every seed."""
    rng = random_for("mood", prompt, seed)
    mood = _MOODS[int(rng.integers(0, len(_MOODS)))]
    tint, contrast, saturation = rng.uniform((0.85, 0.95, 0.9), (1.15, 1.05, 1.1)).tolist()
    return replace(
        mood,
        tint=mood.tint * tint,
        contrast=mood.contrast * contrast,
        saturation=mood.saturation * saturation,
    ).step()


def bloom(strength: float, radius: float = 0.02) -> Step:
    """Bright parts glow."""

    def glowing(picture: Image.Image) -> Image.Image:
        small = picture.reduce(4) if min(picture.size) >= 16 else picture
        blur = max(1.0, min(small.size) * radius * 1.6)
        light = small.point([max(0, round((tone - 110) * 1.5 * strength)) for tone in range(256)] * 3)
        light = light.filter(ImageFilter.GaussianBlur(blur)).resize(picture.size, Image.Resampling.BILINEAR)
        return ImageChops.screen(picture, light)

    return glowing


def vignette(width: int, height: int, strength: float) -> Step:
    """Corners darken."""
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    shade = np.clip(np.hypot(rows, columns) - 0.55, 0.0, None) ** 1.6 * strength
    mask = Image.fromarray((np.clip(shade, 0.0, 1.0) * 255.0).astype(np.uint8))
    dark = Image.new("RGB", (width, height), (6, 4, 8))

    def darkened(picture: Image.Image) -> Image.Image:
        return Image.composite(dark, picture, mask)

    return darkened


def flattened(levels: int, softness: float) -> Step:
    """Few tones, as painted; ``softness`` (0…1) is how wide the borders between them are."""
    table: list[int] = []
    for tone in range(256):
        place = tone / 255.0 * (levels - 1)
        low = int(place)
        share = (place - low - 0.5) / max(softness, 0.02) + 0.5
        share = min(1.0, max(0.0, share))
        table.append(round((low + share) * 255.0 / (levels - 1)))
    return lambda picture: picture.point([min(255, value) for value in table] * 3)


def inked(strength: float) -> Step:
    """Dark lines along the edges of things."""
    kernel = ImageFilter.Kernel((3, 3), (-1, -1, -1, -1, 8, -1, -1, -1, -1), scale=1, offset=0)
    table = [min(255, round(max(0, tone - 22) * 4.0 * strength)) for tone in range(256)]

    def lined(picture: Image.Image) -> Image.Image:
        if min(picture.size) < 8:
            return picture
        outline = picture.convert("L").filter(ImageFilter.GaussianBlur(1.0)).filter(kernel).point(table)
        return Image.composite(Image.new("RGB", picture.size, (16, 12, 22)), picture, outline)

    return lined


def smoothed(size: int) -> Step:
    """Small detail goes, borders stay, as in painted animation."""
    return lambda picture: picture.filter(ImageFilter.MedianFilter(size))


def halftone(width: int, height: int, strength: float) -> Step:
    """A screen of printed dots, denser in the shade."""
    pitch = max(4.0, min(width, height) / 80)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    along, across = (columns + rows) * np.float32(np.pi / pitch), (columns - rows) * np.float32(np.pi / pitch)
    dots = 128.0 + strength * 128.0 * (np.cos(along) * np.cos(across)) * 0.9
    screen = Image.fromarray(np.clip(dots, 0, 255).astype(np.uint8)).convert("RGB")
    return lambda picture: ImageChops.add(picture, screen, 1.0, -128)
