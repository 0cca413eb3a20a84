"""A camera held by hand. It looks at a little less than the whole picture, so no border ever shows."""

import math

import numpy as np
from PIL import Image

from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.seeding import random_for

_PACES = (0.63, 1.37, 2.9, 5.3)
_SHARES = (0.5, 0.28, 0.14, 0.08)


class Shake:
    """``reach`` is the room for the shake as a share of the frame, ``pace`` how nervous it is.

    ``beat`` > 0 adds that many short thrusts towards the picture a second.
    """

    def __init__(self, seed: int, reach: float, pace: float = 1.0, beat: float = 0.0) -> None:
        self._turns = random_for("shake", seed).uniform(0, 2 * np.pi, (2, len(_PACES)))
        self._reach = reach
        self._pace = pace
        self._beat = beat

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        reach = self._reach * moment.presence
        if self._beat:
            reach += 0.05 * moment.presence * math.exp(-5.0 * (moment.seconds * self._beat % 1.0))
        if reach <= 1e-4:
            return picture
        width, height = picture.size
        sideways, up = (self._swing(axis, moment.seconds) for axis in (0, 1))
        left, top = width * reach * (0.5 + 0.5 * sideways), height * reach * (0.5 + 0.5 * up)
        box = (left, top, left + width * (1.0 - reach), top + height * (1.0 - reach))
        return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)

    def _swing(self, axis: int, seconds: float) -> float:
        waves = (
            share * math.sin(float(turn) + 2 * math.pi * pace * self._pace * seconds)
            for share, pace, turn in zip(_SHARES, _PACES, self._turns[axis], strict=True)
        )
        return min(1.0, max(-1.0, sum(waves)))
