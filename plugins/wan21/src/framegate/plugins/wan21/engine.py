"""What only Wan2.1 does."""

from framegate.core.types import Shot
from framegate.plugins.diffusers.wan.engine import WanEngine

_MAX_480P = 1.3 * 832 * 480
"""The most pixels that count as 480p."""


class Wan21Engine(WanEngine):
    """A Wan2.1 model on one device."""

    def flow_shift(self, shot: Shot) -> float:
        """Return 3 at 480p, 5 at larger sizes."""
        return 3.0 if shot.width * shot.height <= _MAX_480P else 5.0
