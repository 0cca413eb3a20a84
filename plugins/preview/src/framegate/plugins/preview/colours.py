"""Colours and the palettes that scenes are painted with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]


def hexed(code: str) -> Colour:
    """``"ff8800"`` as a colour."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` going over into ``second`` as ``share`` goes from 0 to 1."""
    red, green, blue = (
        round(a + (b - a) * min(1.0, max(0.0, share))) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


def as_floats(colour: Colour) -> NDArray[np.float32]:
    return np.array(colour, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Palette:
    """The light of a scene: the sky from top to horizon, its sun or moon, and the land from far to near."""

    zenith: Colour
    sky: Colour
    horizon: Colour
    light: Colour
    cloud: Colour
    near: Colour
    night: bool = False

    @property
    def haze(self) -> Colour:
        return mix(self.horizon, self.sky, 0.35)


def _palette(
    zenith: str, sky: str, horizon: str, light: str, cloud: str, near: str, night: bool = False
) -> Palette:
    return Palette(hexed(zenith), hexed(sky), hexed(horizon), hexed(light), hexed(cloud), hexed(near), night)


PALETTES: dict[str, tuple[Palette, ...]] = {
    "dawn": (
        _palette("5b6fa8", "c9a3c4", "ffd9c0", "fff1d6", "ffe6e0", "2f3a5c"),
        _palette("4a7a9c", "a8cfd0", "fde7c8", "fff6df", "fff4ea", "1f4650"),
    ),
    "day": (
        _palette("2f73b8", "82b9e0", "e3f0f2", "fffbe8", "ffffff", "1d4a4a"),
        _palette("3a86a8", "9dd3d8", "f3f3df", "fffbe3", "ffffff", "23513f"),
    ),
    "sunset": (
        _palette("3b2a62", "d9626b", "ffc27a", "fff0b8", "ffb59a", "241a3a"),
        _palette("2c3f70", "e58a6a", "ffd48a", "fff3c4", "ffcaa6", "2a1f33"),
        _palette("5a2350", "ee6a50", "ffb35c", "ffe7a3", "ff9e80", "2b1027"),
    ),
    "dusk": (
        _palette("1b1d4a", "6a4a93", "f09aa0", "ffe3d0", "c58ab5", "14132e"),
        _palette("14284e", "3f6f99", "f2b8a0", "ffe9d2", "9fb2cf", "0d1a30"),
    ),
    "night": (
        _palette("060a20", "14234f", "3b5688", "eef3ff", "4d6494", "050a18", night=True),
        _palette("0b0820", "2a1d55", "6a4a86", "f6efff", "6f5a97", "080616", night=True),
    ),
    "winter": (
        _palette("5d86b5", "b4cfe6", "f4f1f0", "fffaf0", "ffffff", "3d5876"),
        _palette("52659c", "b3b3da", "fbdcd8", "fff3e6", "fdeef0", "39456f"),
    ),
    "desert": (
        _palette("3f7fb0", "a9cbd2", "fbe3bd", "fff6d8", "fff3e2", "9c4f2a"),
        _palette("54336a", "dd7357", "ffcb80", "fff0bc", "ffbd97", "6b2b2a"),
    ),
}
