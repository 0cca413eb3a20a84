"""The specs of the image models."""

from framegate.core.models import Defaults, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command

_DEFAULTS = Defaults(width=1024, height=1024, num_inference_steps=30, guidance_scale=4.0)
_OFF = Range(1.0, 1.0)


def _preset(model: str, steps: int, guidance: float, *, distilled: bool = False) -> ModelPreset:
    """Return the authors' settings for ``model``; what was distilled can't be guided."""
    return ModelPreset(
        summary=f"For {model}: {steps} steps, {'no guidance' if distilled else f'guidance {guidance:g}'}.",
        defaults=Defaults(num_inference_steps=steps, guidance_scale=guidance),
        steps=Range(1, 2 * steps) if distilled else None,
        guidance=_OFF if distilled else None,
    )


_GENERATING = {
    # Source: black-forest-labs/flux, src/flux/cli.py, main: num_steps, guidance.
    "flux-dev": _preset("FLUX.1-dev", 50, 2.5),
    "flux-schnell": _preset("FLUX.1-schnell", 4, 1.0, distilled=True),
    # Source: QwenLM/Qwen-Image, README.md: num_inference_steps, true_cfg_scale.
    "qwen-image": _preset("Qwen-Image", 50, 4.0),
    # Source: Tongyi-MAI/Z-Image, inference.py: num_inference_steps, guidance_scale.
    "z-image-turbo": _preset("Z-Image-Turbo", 8, 1.0, distilled=True),
}
_EDITING = {
    # Source: black-forest-labs/flux, src/flux/cli_kontext.py, main: num_steps, guidance.
    "flux-kontext": _preset("FLUX.1-Kontext-dev", 30, 2.5),
    # Source: QwenLM/Qwen-Image, README.md: num_inference_steps, true_cfg_scale of Qwen-Image-Edit-2511.
    "qwen-image-edit": _preset("Qwen-Image-Edit", 40, 4.0),
}


def _spec(
    name: str,
    summary: str,
    tasks: set[Task],
    *parameters: str,
    presets: dict[str, ModelPreset] | None = None,
    defaults: Defaults = _DEFAULTS,
) -> ModelSpec:
    return ModelSpec(
        id=name,
        summary=summary,
        backend="framegate.plugins.diffusers.images.backend:ImagesBackend",
        needs_source=True,
        presets=presets or {},
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
    presets=_GENERATING,
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
    presets=_EDITING,
)

IMAGES = [IMAGE, TEXT_TO_IMAGE, IMAGE_EDIT]
"""All image models."""
