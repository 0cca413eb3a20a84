"""Time in a shot: where a frame lies, and how movements start and stop."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

FADE_SECONDS = 0.5
STILL_SECONDS = 2.4
"""The moment that a single picture shows."""


def ease(progress: float) -> float:
    """0…1 to 0…1, starting and ending at rest."""
    clipped = min(1.0, max(0.0, progress))
    return clipped * clipped * (3.0 - 2.0 * clipped)


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """`ease` over an array, from 0 at ``low`` to 1 at ``high``."""
    clipped: Floats = np.clip((values - low) / (high - low), 0.0, 1.0, dtype=np.float32)
    return clipped * clipped * (np.float32(3.0) - np.float32(2.0) * clipped)


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame's place in its shot.

    ``presence`` (0…1) is how far captions, confetti, shake and the like are there: they are gone in a
    video's last frame, from which another shot may go on, and come in gently where one does.
    """

    index: int
    progress: float
    seconds: float
    presence: float


def still() -> Moment:
    """The moment that a picture shows: everything is there."""
    return Moment(index=0, progress=0.4, seconds=STILL_SECONDS, presence=1.0)


def moment(index: int, count: int, fps: float, *, from_nothing: bool) -> Moment:
    """Frame ``index`` of ``count``; ``from_nothing``: captions and the like are to come in, not be there."""
    rate = fps if fps > 0 else 24.0
    last = max(count - 1, 1)
    fade = max(1.0, min(FADE_SECONDS * rate, count / 4))
    presence = ease((count - 1 - index) / fade) if count > 1 else 1.0
    if from_nothing:
        presence *= ease(index / fade)
    return Moment(index=index, progress=index / last, seconds=index / rate, presence=presence)
