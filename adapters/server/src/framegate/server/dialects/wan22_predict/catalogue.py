"""The model name that wan22-predict documents."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.types import MediaKind

CATALOGUE = (
    CatalogueName(
        "Wan2.2-TI2V-5B",
        MediaKind.VIDEO,
        Defaults(
            width=1280, height=704, fps=24.0, num_frames=121, num_inference_steps=50, guidance_scale=5.0
        ),
        sizes=SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048),
        frames=FrameRule(step=4, offset=1, min=25, max=121),
    ),
)
