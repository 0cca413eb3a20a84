"""The fields ``aspect`` and ``resolution``. Pure."""

import math
import re

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


def size_for(spec: ModelSpec, ratio: float | None, short: int | None) -> tuple[int, int] | int | None:
    """Return the size of these, or the most pixels that it may have, or None to leave it to the model.

    Sides that follow from others are rounded to those that the model makes. Without a ratio, the input's
    applies, with as many pixels as 16:9 has at that resolution.
    """
    step = spec.sizes.multiple_of

    def rounded(side: float) -> int:
        return max(step, round(side / step) * step)

    if ratio is None:
        return None if short is None else round(short * short * _WIDE)
    if short is not None:
        return (rounded(short * ratio), short) if ratio >= 1 else (short, rounded(short / ratio))
    defaults = defaults_of(spec)
    area = (defaults.width or step) * (defaults.height or step)
    return rounded(math.sqrt(area * ratio)), rounded(math.sqrt(area / ratio))
