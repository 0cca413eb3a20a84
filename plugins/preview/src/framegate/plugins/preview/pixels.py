"""Arrays of numbers and colours: natural randomness, mixing, palettes, and how arrays become images."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
Shape = tuple[int, int]
"""Rows and columns."""
Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)


def random_for(*purpose: object) -> Generator:
    """Return the generator for a purpose, such as ``("clouds", prompt, seed)``."""
    text = "\x1f".join(map(str, purpose)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """Return 0 below ``low``, 1 above ``high``, and an S-shaped transition between them."""
    clipped: Floats = np.clip((values - low) / (high - low), 0.0, 1.0, dtype=np.float32)
    return clipped * clipped * (np.float32(3.0) - np.float32(2.0) * clipped)


def texture(rng: Generator, shape: Shape, smooth: float, cells: int = 192, stretch: float = 1.0) -> Floats:
    """Return a fractal cloud of values in 0…1, most of them near 0.5, that tiles both ways.

    ``smooth`` is the fall of the spectrum, ``cells`` the number of noise cells along the longer side;
    ``stretch`` > 1 draws the cloud out sideways.
    """
    rows, columns = (max(16, round(length * cells / max(shape))) for length in shape)
    vertical, sideways = np.fft.fftfreq(rows) * rows, np.fft.rfftfreq(columns) * rows * stretch
    frequency = np.hypot(vertical[:, None], sideways[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns))) * frequency**-smooth
    values = np.fft.irfft2(spectrum, s=(rows, columns))
    levelled = 1.0 / (1.0 + np.exp(-1.7 * (values - values.mean()) / (values.std() + 1e-9)))
    padded = Image.fromarray(np.pad(levelled, 2, mode="wrap").astype(np.float32))
    box = (2.0, 2.0, 2.0 + columns, 2.0 + rows)
    return np.asarray(
        padded.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box), dtype=np.float32
    )


def outline(rng: Generator, length: int, waves: float, roughness: float) -> Floats:
    """Return the heights (0…1) of a skyline of about ``waves`` humps, finer ones by ``roughness`` (0…1)."""
    heights, strength = np.zeros(length), 1.0
    while strength > 0.015 and waves < length / 3:
        knots = rng.random(int(waves) + 4)
        places = np.linspace(0.0, waves, length) + rng.random()
        left = places.astype(np.int64)
        share = smoothstep(0.0, 1.0, places - left)
        heights += strength * (knots[left] * (1.0 - share) + knots[left + 1] * share)
        strength, waves = strength * (0.3 + 0.25 * roughness), waves * 2.1
    heights -= heights.min()
    scaled: Floats = heights / (heights.max() + 1e-6)
    return scaled


class Palette(NamedTuple):
    """The light of a scene: the sky from top to horizon, sun or moon, clouds, and the nearest land."""

    zenith: Color
    sky: Color
    horizon: Color
    light: Color
    cloud: Color
    near: Color


PALETTES = {
    "dawn": ("5b6fa8 c9a3c4 ffd9c0 fff1d6 ffe6e0 2f3a5c", "4a7a9c a8cfd0 fde7c8 fff6df fff4ea 1f4650"),
    "day": ("2f73b8 82b9e0 e3f0f2 fffbe8 ffffff 1d4a4a", "3a86a8 9dd3d8 f3f3df fffbe3 ffffff 23513f"),
    "sunset": ("3b2a62 d9626b ffc27a fff0b8 ffb59a 241a3a", "2c3f70 e58a6a ffd48a fff3c4 ffcaa6 2a1f33"),
    "dusk": ("1b1d4a 6a4a93 f09aa0 ffe3d0 c58ab5 14132e", "14284e 3f6f99 f2b8a0 ffe9d2 9fb2cf 0d1a30"),
    "night": ("060a20 14234f 3b5688 eef3ff 4d6494 050a18", "0b0820 2a1d55 6a4a86 f6efff 6f5a97 080616"),
    "winter": ("5d86b5 b4cfe6 f4f1f0 fffaf0 ffffff 3d5876", "52659c b3b3da fbdcd8 fff3e6 fdeef0 39456f"),
    "desert": ("3f7fb0 a9cbd2 fbe3bd fff6d8 fff3e2 9c4f2a", "54336a dd7357 ffcb80 fff0bc ffbd97 6b2b2a"),
    "space": ("04070f 0a1838 1c2450 b7c6ee d8607c 24509c", "070614 1c0d33 33144a e6b8a0 2fa3b9 7a2f8f"),
    "abstract": ("ffd9b0 ffb088 ff8f8f ffe9d0 ffe0c8 4a1f78", "bfe8f2 8fd0e8 6fb4e8 f4fbff e8f6ff 1b1f6a"),
}


def parse_hex_color(code: str) -> Color:
    """Return ``"ff8800"`` as a colour."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def mix(first: Color, second: Color, share: float) -> Color:
    """Return the colour between ``first`` (``share`` 0) and ``second`` (1)."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def blend(below: Floats | Color, above: Floats | Color, shares: Floats) -> Floats:
    """Cover colours (… × 3) with others as far as ``shares`` (…, 0…1) says."""
    low, high = np.asarray(below, dtype=np.float32), np.asarray(above, dtype=np.float32)
    return low + (high - low) * shares[..., None].astype(np.float32)


def ramp(colors: Sequence[Color], places: Floats) -> Floats:
    """Return the colours (… × 3) at ``places`` (…, 0…1) of an even gradient through ``colors``."""
    stops = np.linspace(0.0, 1.0, len(colors))
    channels = [np.interp(places, stops, [color[channel] for color in colors]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def to_image(colors: Floats, rng: Generator, alpha: Floats | None = None) -> Image.Image:
    """Return colours (0…255) as RGB, with ``alpha`` (0…1) as RGBA, dithered so that gradients don't band."""
    dithered = np.clip(colors + rng.random(colors.shape[:2], dtype=np.float32)[..., None], 0.0, 255.0)
    image = Image.fromarray(dithered.astype(np.uint8))
    if alpha is not None:
        image.putalpha(to_mask(alpha))
    return image


def to_mask(shares: Floats) -> Image.Image:
    """Return shares (0…1) as a mask."""
    return Image.fromarray((np.clip(shares, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
