"""The field ``aspect_ratio``. Pure."""

import math
import re

_RATIO = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)\s?[:x/]\s?([0-9]{1,4}(?:\.[0-9]{1,4})?)")
_UNCHANGED = frozenset({"", "auto", "16:9"})


def parse_aspect_ratio(text: str) -> float | None:
    """Return width by height, or None where the ratio is left to the input image or the model.

    That is so for "auto" and for 16:9, which clients send by default whatever they want.

    Raises:
        ValueError: It is not a ratio.
    """
    name = text.strip().lower()
    if name in _UNCHANGED:
        return None
    found = _RATIO.fullmatch(name)
    if found is None or not all(map(float, found.groups())):
        raise ValueError("Input should be a ratio such as 16:9, or auto")
    return float(found[1]) / float(found[2])


def sides(area: int, ratio: float) -> tuple[int, int]:
    """Return width and height in pixels, with about that area."""
    return _side(area * ratio), _side(area / ratio)


def _side(square: float) -> int:
    return max(32, min(4096, round(math.sqrt(square) / 16) * 16))
