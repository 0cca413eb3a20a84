"""The specs of the image models."""

from framegate.core.models import Defaults, ModelSpec, Range, SizeRule
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command

_DEFAULTS = Defaults(width=1024, height=1024, num_inference_steps=30, guidance_scale=4.0)


def _spec(
    name: str, summary: str, tasks: set[Task], *parameters: str, defaults: Defaults = _DEFAULTS
) -> ModelSpec:
    return ModelSpec(
        id=name,
        summary=summary,
        backend="framegate.plugins.diffusers.images.backend:ImagesBackend",
        needs_source=True,
        options_type="framegate.plugins.diffusers.options:Options",
        requires=MODULES,
        install=install_command("diffusers"),
        tasks=frozenset(tasks),
        parameters=frozenset({"negative_prompt", *parameters}),
        sizes=SizeRule(multiple_of=16, min_side=64, max_side=2048, max_pixels=2048 * 2048),
        steps=Range(1, 100),
        guidance=Range(1.0, 20.0),
        defaults=defaults,
    )


IMAGE = _spec(
    "diffusers-image",
    "Images from text or from an image: Stable Diffusion, FLUX, Qwen-Image, Z-Image and others.",
    {Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE},
    "strength",
    defaults=Defaults(strength=0.6).over(_DEFAULTS),
)
TEXT_TO_IMAGE = _spec(
    "diffusers-text-to-image",
    "Images from text, for models that can't start from an image: Sana, CogView4, PixArt and others.",
    {Task.TEXT_TO_IMAGE},
)
IMAGE_EDIT = _spec(
    "diffusers-image-edit",
    "Images edited as the prompt says: Qwen-Image-Edit, FLUX Kontext.",
    {Task.IMAGE_TO_IMAGE},
)

IMAGES = [IMAGE, TEXT_TO_IMAGE, IMAGE_EDIT]
"""All image models."""
