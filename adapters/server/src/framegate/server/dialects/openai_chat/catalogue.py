"""The model names that openai-chat documents."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.types import MediaKind

CATALOGUE = tuple(
    CatalogueName(
        f"ltx2_{shape}",
        MediaKind.VIDEO,
        Defaults(width=width, height=height, fps=24.0, num_frames=121),
        sizes=SizeRule(multiple_of=32, min_side=64, max_side=2048, max_pixels=2048 * 2048),
        frames=FrameRule(step=8, offset=1, min=9, max=257),
    )
    for shape, width, height in (("landscape", 1024, 576), ("portrait", 576, 1024))
)
