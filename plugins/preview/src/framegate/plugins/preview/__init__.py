"""The built-in backend: real images and videos without any model."""

from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task

PREVIEW = ModelSpec(
    id="preview",
    summary="Drawn on the CPU, without any model: for developing clients and trying a server out.",
    backend="framegate.plugins.preview.backend:PreviewBackend",
    options_type="framegate.core.options:NoOptions",
    tasks=frozenset(Task),
    parameters=frozenset({"strength", "last_image"}),
    sizes=SizeRule(multiple_of=2, min_side=16, max_side=2048, max_pixels=2048 * 2048),
    frames=FrameRule(step=1, offset=0, min=1, max=7200),
    fps=Range(1, 60),
    steps=Range(1, 1000),
    guidance=Range(0.0, 100.0),
    max_outputs=10,
    defaults=Defaults(
        width=832, height=480, fps=24.0, duration=4.0, num_inference_steps=4, guidance_scale=5.0
    ),
)


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Return the preview model."""
    return [PREVIEW]
