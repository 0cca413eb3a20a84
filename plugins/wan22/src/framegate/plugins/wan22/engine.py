"""What only Wan2.2 does."""

from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.wan.engine import WanEngine

_SHIFT, _SHIFT_T2V_A14B = 5.0, 12.0
"""Source: Wan-Video/Wan2.2, wan/configs/wan_ti2v_5B.py, wan_i2v_A14B.py and wan_t2v_A14B.py:
``sample_shift``. With less, the high-noise transformer of T2V-A14B would run too few of the steps."""
_LOW_NOISE_GUIDANCE_T2V_A14B = 3.0
"""Source: Wan-Video/Wan2.2, wan/configs/wan_t2v_A14B.py: ``sample_guide_scale``, its first value."""


class Wan22Engine(WanEngine):
    """A Wan2.2 model on one device."""

    def flow_shift(self, shot: Shot) -> float:
        """Return 12 for T2V-A14B, 5 for the others."""
        return _SHIFT_T2V_A14B if self._is_text_to_video_a14b else _SHIFT

    def second_guidance(self) -> float | None:
        """Return 3 for T2V-A14B; I2V-A14B has one for both transformers."""
        return _LOW_NOISE_GUIDANCE_T2V_A14B if self._is_text_to_video_a14b else None

    @property
    def _is_text_to_video_a14b(self) -> bool:
        return self.variant.experts and Task.TEXT_TO_VIDEO in self.variant.tasks
