"""What is Wan2.1's own."""

from framegate.core.types import Shot
from framegate.plugins.diffusers.wan.engine import WanEngine

_SMALL = 1.3 * 832 * 480
"""Pixels up to which a size counts as 480p."""


class Wan21Engine(WanEngine):
    def shift_for(self, shot: Shot) -> float:
        return 3.0 if shot.width * shot.height <= _SMALL else 5.0
