"""Picture models: whatever diffusers' AutoPipeline knows, from a folder or hub id that the config gives."""

from framegate.core.models import Defaults, ModelSpec, Range, SizeRule
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command

_BACKEND = "framegate.plugins.diffusers.images_backend:ImagesBackend"
_INSTALL = install_command("diffusers")
_SIZES = SizeRule(multiple_of=16, min_side=64, max_side=2048, max_pixels=2048 * 2048)
_STEPS = Range(1, 100)
_GUIDANCE = Range(1.0, 20.0)
_DEFAULTS = Defaults(width=1024, height=1024, num_inference_steps=30, guidance_scale=4.0)

IMAGE = ModelSpec(
    id="diffusers-image",
    summary="Pictures from text or from a picture: Stable Diffusion, FLUX, Qwen-Image, Z-Image and others.",
    backend=_BACKEND,
    needs_source=True,
    requires=MODULES,
    install=_INSTALL,
    tasks=frozenset({Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE}),
    parameters=frozenset({"negative_prompt", "strength"}),
    sizes=_SIZES,
    steps=_STEPS,
    guidance=_GUIDANCE,
    defaults=Defaults(strength=0.6).over(_DEFAULTS),
)
TEXT_TO_IMAGE = ModelSpec(
    id="diffusers-text-to-image",
    summary="Pictures from text, where no picture can be started from: Sana, CogView4, PixArt and others.",
    backend=_BACKEND,
    needs_source=True,
    requires=MODULES,
    install=_INSTALL,
    tasks=frozenset({Task.TEXT_TO_IMAGE}),
    parameters=frozenset({"negative_prompt"}),
    sizes=_SIZES,
    steps=_STEPS,
    guidance=_GUIDANCE,
    defaults=_DEFAULTS,
)
IMAGE_EDIT = ModelSpec(
    id="diffusers-image-edit",
    summary="Pictures changed as the prompt says: Qwen-Image-Edit, FLUX Kontext.",
    backend=_BACKEND,
    needs_source=True,
    requires=MODULES,
    install=_INSTALL,
    tasks=frozenset({Task.IMAGE_TO_IMAGE}),
    parameters=frozenset({"negative_prompt"}),
    sizes=_SIZES,
    steps=_STEPS,
    guidance=_GUIDANCE,
    defaults=_DEFAULTS,
)

IMAGES = [IMAGE, TEXT_TO_IMAGE, IMAGE_EDIT]
