"""Wan2.2: TI2V-5B, from text and images with one set of weights, and the two A14B models."""

from framegate.core.models import Defaults, FrameRule, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command
from framegate.plugins.diffusers.wan.prompts import NEGATIVE_PROMPT

_BACKEND = "framegate.plugins.wan22.backend:Wan22Backend"
_OPTIONS = "framegate.plugins.diffusers.wan.options:WanOptions"
_INSTALL = install_command("wan22")
_LICENSE = "Apache-2.0"
"""Source: Wan-Video/Wan2.2, README.md, "License Agreement"."""


def _four_steps(summary: str, license_: str, *loras: dict[str, str]) -> dict[str, ModelPreset]:
    return {
        "distilled-4step": ModelPreset(
            summary=summary,
            license=license_,
            options={"loras": list(loras), "schedule": "distilled", "flow_shift": 5.0},
            defaults=Defaults(num_inference_steps=4, guidance_scale=1.0),
            steps=Range(1, 4),
            guidance=Range(1.0, 1.0),
        )
    }


def _lightning(folder: str) -> dict[str, ModelPreset]:
    """Return lightx2v's preset: the first two steps are the high-noise transformer's.

    Source: ModelTC/Wan2.2-Lightning, wan/configs/wan_t2v_A14B.py and wan_i2v_A14B.py: ``sample_shift``,
    ``sample_steps``, ``boundary``, ``sample_guide_scale``; its README.md, "License Agreement".
    """

    def lora(component: str, noise: str) -> dict[str, str]:
        return {
            "source": "lightx2v/Wan2.2-Lightning",
            "weight_name": f"{folder}/{noise}_noise_model.safetensors",
            "component": component,
        }

    return _four_steps(
        "lightx2v's Lightning LoRAs: 4 steps without guidance, some 20 times faster.",
        "preset's LoRAs: Apache-2.0",
        lora("transformer", "high"),
        lora("transformer_2", "low"),
    )


TI2V_5B = ModelSpec(
    id="wan22",
    summary="Wan2.2-TI2V-5B: videos from text or an image, 1280×704 at 24 fps.",
    license=_LICENSE,
    backend=_BACKEND,
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    needs_source=True,
    options_type=_OPTIONS,
    presets=_four_steps(
        "The Turbo distillation LoRA, not for commercial use: 4 steps without guidance, 20 times faster.",
        # Source: quanhaol/Wan2.2-TI2V-5B-Turbo, of whose weights it is an extract: LICENSE.md, and
        # configs/self_forcing_wan22_dmd.yaml: denoising_step_list, warp_denoising_step, timestep_shift.
        "preset's LoRA: CC BY-NC-SA 4.0, not for commercial use",
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
    # Source: Wan-Video/Wan2.2, wan/configs/wan_ti2v_5B.py: frame_num, sample_fps, sample_steps,
    # sample_guide_scale; wan/configs/__init__.py: SUPPORTED_SIZES.
    defaults=Defaults(
        width=1280,
        height=704,
        num_frames=121,
        fps=24.0,
        num_inference_steps=50,
        guidance_scale=5.0,
        negative_prompt=NEGATIVE_PROMPT,
    ),
)


def _a14b(name: str, summary: str, task: Task, guidance: float, presets: dict[str, ModelPreset]) -> ModelSpec:
    return ModelSpec(
        id=name,
        summary=summary,
        license=_LICENSE,
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
        # Source: Wan-Video/Wan2.2, wan/configs/wan_t2v_A14B.py and wan_i2v_A14B.py: sample_steps, and
        # sample_guide_scale, whose second value is the high-noise transformer's (the first is in `engine`);
        # wan/configs/shared_config.py: frame_num, sample_fps.
        defaults=Defaults(
            width=1280,
            height=720,
            num_frames=81,
            fps=16.0,
            num_inference_steps=40,
            guidance_scale=guidance,
            negative_prompt=NEGATIVE_PROMPT,
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
