"""Wan2.2: TI2V-5B, from text and images with one set of weights, and the two A14B models."""

from framegate.core.models import Defaults, FrameRule, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command

_BACKEND = "framegate.plugins.wan22.backend:Wan22Backend"
_OPTIONS = "framegate.plugins.diffusers.wan.options:WanOptions"
_INSTALL = install_command("wan22")


def _four_steps(summary: str, *loras: dict[str, str], flow_shift: float = 5.0) -> dict[str, ModelPreset]:
    return {
        "distilled-4step": ModelPreset(
            summary=summary,
            options={"loras": list(loras), "flow_shift": flow_shift},
            defaults=Defaults(num_inference_steps=4, guidance_scale=1.0),
            steps=Range(1, 4),
            guidance=Range(1.0, 1.0),
        )
    }


def _lightning(folder: str) -> dict[str, ModelPreset]:
    def lora(component: str, noise: str) -> dict[str, str]:
        return {
            "source": "lightx2v/Wan2.2-Lightning",
            "weight_name": f"{folder}/{noise}_noise_model.safetensors",
            "component": component,
        }

    return _four_steps(
        "lightx2v's Lightning LoRAs: 4 steps without guidance, some 20 times faster.",
        lora("transformer", "high"),
        lora("transformer_2", "low"),
    )


TI2V_5B = ModelSpec(
    id="wan22",
    summary="Wan2.2-TI2V-5B: videos from text or an image, 1280×704 at 24 fps.",
    backend=_BACKEND,
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    needs_source=True,
    options_type=_OPTIONS,
    presets=_four_steps(
        "The Turbo distillation LoRA: 4 steps without guidance, some 20 times faster.",
        {
            "source": "Kijai/WanVideo_comfy",
            "weight_name": "LoRAs/Wan22-Turbo/Wan22_TI2V_5B_Turbo_lora_rank_64_fp16.safetensors",
        },
    ),
    requires=MODULES,
    install=_INSTALL,
    parameters=frozenset({"negative_prompt"}),
    sizes=SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048),
    frames=FrameRule(step=4, offset=1, min=5, max=121),
    fps=Range(1, 60),
    steps=Range(1, 100),
    guidance=Range(1.0, 20.0),
    defaults=Defaults(
        width=1280, height=704, num_frames=121, fps=24.0, num_inference_steps=50, guidance_scale=5.0
    ),
)


def _a14b(name: str, summary: str, task: Task, guidance: float, presets: dict[str, ModelPreset]) -> ModelSpec:
    return ModelSpec(
        id=name,
        summary=summary,
        backend=_BACKEND,
        tasks=frozenset({task}),
        needs_source=True,
        options_type=_OPTIONS,
        presets=presets,
        requires=MODULES,
        install=_INSTALL,
        parameters=frozenset({"negative_prompt"}),
        sizes=SizeRule(multiple_of=16, min_side=64, max_side=2048, max_pixels=1280 * 720),
        frames=FrameRule(step=4, offset=1, min=5, max=121),
        fps=Range(1, 60),
        steps=Range(1, 100),
        guidance=Range(1.0, 20.0),
        defaults=Defaults(
            width=1280, height=720, num_frames=81, fps=16.0, num_inference_steps=40, guidance_scale=guidance
        ),
    )


MODELS = [
    TI2V_5B,
    _a14b(
        "wan22-i2v",
        "Wan2.2-I2V-A14B: videos from an image, with two transformers.",
        Task.IMAGE_TO_VIDEO,
        3.5,
        _lightning("Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"),
    ),
    _a14b(
        "wan22-t2v",
        "Wan2.2-T2V-A14B: videos from text, with two transformers.",
        Task.TEXT_TO_VIDEO,
        4.0,
        _lightning("Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1"),
    ),
]


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Offer the Wan2.2 models."""
    return MODELS
