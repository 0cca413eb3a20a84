"""LTX-2 (2.0 and 2.3): videos with sound, from text or from a first and a last picture."""

from msgspec.structs import replace

from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task

_MAX_SIDE, _MAX_PIXELS = 1920, 1920 * 1088

LTX2 = ModelSpec(
    id="ltx2",
    summary="LTX-2: videos with sound, from text or pictures.",
    backend="framegate.plugins.ltx2.backend:Ltx2Backend",
    needs_source=True,
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    parameters=frozenset({"negative_prompt", "last_image"}),
    sizes=SizeRule(multiple_of=32, min_side=64, max_side=_MAX_SIDE, max_pixels=_MAX_PIXELS),
    frames=FrameRule(step=8, offset=1, min=9, max=257),
    fps=Range(8, 60),
    steps=Range(1, 100),
    guidance=Range(1.0, 20.0),
    defaults=Defaults(
        width=1024, height=576, num_frames=121, fps=24.0, num_inference_steps=40, guidance_scale=4.0
    ),
)
DISTILLED = replace(
    LTX2,
    id="ltx2-distilled",
    summary="LTX-2, distilled: eight steps without guidance.",
    options={"schedule": "distilled"},
    parameters=frozenset({"last_image"}),
    steps=Range(8, 8),
    guidance=Range(1.0, 1.0),
    defaults=Defaults(num_inference_steps=8, guidance_scale=1.0).over(LTX2.defaults),
)
_TWICE = SizeRule(multiple_of=64, min_side=128, max_side=_MAX_SIDE, max_pixels=_MAX_PIXELS)
TWO_STAGE = replace(
    LTX2,
    id="ltx2-two-stage",
    summary="LTX-2 at half the size, then upsampled and refined in three steps.",
    options={"stages": 2},
    sizes=_TWICE,
)
DISTILLED_TWO_STAGE = replace(
    DISTILLED,
    id="ltx2-distilled-two-stage",
    summary="LTX-2, distilled, at half the size, then upsampled and refined in three steps.",
    options={"schedule": "distilled", "stages": 2},
    sizes=_TWICE,
)


@hookimpl
def framegate_models() -> list[ModelSpec]:
    return [LTX2, DISTILLED, TWO_STAGE, DISTILLED_TWO_STAGE]
