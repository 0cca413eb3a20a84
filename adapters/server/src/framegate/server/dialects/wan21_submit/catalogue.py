"""The model name that wan21-submit documents."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.types import MediaKind, Task

CATALOGUE = (
    CatalogueName(
        "Wan2.1-I2V-14B-480P",
        MediaKind.VIDEO,
        Defaults(width=832, height=480, fps=16.0, num_frames=81, num_inference_steps=30, guidance_scale=3.0),
        sizes=SizeRule(multiple_of=16, min_side=256, max_side=1664, max_pixels=399_360),
        frames=FrameRule(step=4, offset=1, min=25, max=121),
        tasks=frozenset({Task.IMAGE_TO_VIDEO}),
        max_running=2,
    ),
)
