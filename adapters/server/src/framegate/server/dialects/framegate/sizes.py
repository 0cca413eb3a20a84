"""The fields ``aspect`` and ``resolution``. Pure."""

import math
import re

from msgspec import Struct

from framegate.core.fitting import defaults_of
from framegate.core.models import ModelSpec

_ASPECT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)\s?[:x/]\s?([0-9]{1,4}(?:\.[0-9]{1,4})?)")
_RESOLUTION = re.compile(r"([1-9][0-9]{1,3})p", re.IGNORECASE)
_WIDE = 16 / 9


def parse_aspect(text: str) -> float | None:
    """Return width by height; None for "auto", which leaves it to the input or the model.

    Raises:
        ValueError: It is not a ratio.
    """
    if text.strip().lower() == "auto":
        return None
    found = _ASPECT.fullmatch(text.strip())
    if found is None or not all(map(float, found.groups())):
        raise ValueError('Input should be a ratio such as "16:9", or "auto"')
    return float(found[1]) / float(found[2])


def parse_resolution(text: str) -> int:
    """Return the shorter side in pixels.

    Raises:
        ValueError: It is not a resolution.
    """
    found = _RESOLUTION.fullmatch(text.strip())
    if found is None:
        raise ValueError('Input should be the shorter side in pixels, such as "720p"')
    return int(found[1])


class Size(Struct, frozen=True):
    """A size in pixels, or the most pixels that it may have; None leaves it to the input and the model."""

    width: int | None = None
    height: int | None = None
    max_pixels: int | None = None


def size_for(spec: ModelSpec, ratio: float | None, short: int | None) -> Size:
    """Return the size with this ratio of width to height and this shorter side, as far as they are given.

    Sides that follow from others are rounded to those that the model makes. Without a ratio, the input's
    applies, with as many pixels as 16:9 has at that resolution.
    """
    step = spec.sizes.multiple_of

    def rounded(side: float) -> int:
        return max(step, round(side / step) * step)

    if ratio is None:
        return Size(max_pixels=None if short is None else round(short * short * _WIDE))
    if short is not None and ratio >= 1:
        return Size(rounded(short * ratio), short)
    if short is not None:
        return Size(short, rounded(short / ratio))
    defaults = defaults_of(spec)
    area = (defaults.width or step) * (defaults.height or step)
    return Size(rounded(math.sqrt(area * ratio)), rounded(math.sqrt(area / ratio)))
