"""What only Wan2.1 does."""

from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.wan.engine import WanEngine

_MAX_480P = 1.3 * 832 * 480
"""The most pixels that count as 480p."""
_SHIFT_480P, _SHIFT, _SHIFT_FIRST_AND_LAST = 3.0, 5.0, 16.0
"""Source: Wan-Video/Wan2.1, generate.py, ``_validate_args``: ``sample_shift``."""


class Wan21Engine(WanEngine):
    """A Wan2.1 model on one device."""

    def flow_shift(self, shot: Shot) -> float:
        """Return 16 between two images, 3 at 480p from one, else 5."""
        if self.variant.first_and_last:
            return _SHIFT_FIRST_AND_LAST
        from_image = Task.IMAGE_TO_VIDEO in self.variant.tasks
        return _SHIFT_480P if from_image and shot.width * shot.height <= _MAX_480P else _SHIFT
