"""Wan2.1: videos from an image, from text, from a video, and between two images."""

from framegate.core.models import Defaults, FrameRule, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command
from framegate.plugins.diffusers.wan.prompts import (
    FIRST_AND_LAST_NEGATIVE_PROMPT,
    IMAGE_NEGATIVE_PROMPT,
    NEGATIVE_PROMPT,
)

_PIXELS_480P = 832 * 480
_PIXELS_720P = 1280 * 720


def _distilled(kind: str, file: str) -> dict[str, ModelPreset]:
    lora = {
        "source": f"lightx2v/Wan2.1-{kind}-StepDistill-CfgDistill-Lightx2v",
        "weight_name": f"loras/{file}",
    }
    return {
        "distilled-4step": ModelPreset(
            summary="lightx2v's distillation LoRA: 4 steps without guidance, some 20 times faster.",
            license="preset's LoRA: unknown here; check before commercial use",
            # Source: ModelTC/LightX2V, configs/distill/wan21/wan_i2v_distill_lora_4step_cfg.json and
            # wan_t2v_distill_lora_4step_cfg.json: infer_steps, enable_cfg, sample_shift, denoising_step_list.
            options={"loras": [lora], "schedule": "distilled", "flow_shift": 5.0},
            defaults=Defaults(num_inference_steps=4, guidance_scale=1.0),
            steps=Range(1, 4),
            guidance=Range(1.0, 1.0),
        )
    }


def _spec(
    name: str,
    summary: str,
    tasks: set[Task],
    pixels: int,
    presets: dict[str, ModelPreset],
    negative_prompt: str,
    *parameters: str,
    steps: int = 50,
) -> ModelSpec:
    large = pixels > _PIXELS_480P
    return ModelSpec(
        id=name,
        summary=summary,
        license="Apache-2.0",  # Wan-Video/Wan2.1, LICENSE.txt
        backend="framegate.plugins.wan21.backend:Wan21Backend",
        tasks=frozenset(tasks),
        needs_source=True,
        options_type="framegate.plugins.diffusers.wan.options:WanOptions",
        presets=presets,
        requires=MODULES,
        install=install_command("wan21"),
        parameters=frozenset({"negative_prompt", *parameters}),
        sizes=SizeRule(multiple_of=16, min_side=64, max_side=2048, max_pixels=pixels),
        frames=FrameRule(step=4, offset=1, min=5, max=121),
        fps=Range(1, 60),
        steps=Range(1, 100),
        guidance=Range(1.0, 20.0),
        # Source: Wan-Video/Wan2.1, generate.py, _validate_args and _parse_args: frame_num, sample_steps,
        # sample_guide_scale; wan/configs/shared_config.py: sample_fps.
        defaults=Defaults(
            width=1280 if large else 832,
            height=720 if large else 480,
            num_frames=81,
            fps=16.0,
            num_inference_steps=steps,
            guidance_scale=5.0,
            negative_prompt=negative_prompt,
        ),
    )


_FROM_IMAGE = _distilled("I2V-14B-480P", "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors")
_FROM_TEXT = _distilled("T2V-14B", "Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors")

MODELS = [
    _spec(
        "wan21",
        "Wan2.1-I2V-14B-480P: videos from an image, up to 832×480.",
        {Task.IMAGE_TO_VIDEO},
        _PIXELS_480P,
        _FROM_IMAGE,
        IMAGE_NEGATIVE_PROMPT,
        steps=40,
    ),
    _spec(
        "wan21-720p",
        "Wan2.1-I2V-14B-720P: videos from an image, up to 1280×720.",
        {Task.IMAGE_TO_VIDEO},
        _PIXELS_720P,
        _FROM_IMAGE,
        IMAGE_NEGATIVE_PROMPT,
        steps=40,
    ),
    _spec(
        "wan21-flf2v",
        "Wan2.1-FLF2V-14B-720P: videos from a first image to a last one.",
        {Task.IMAGE_TO_VIDEO},
        _PIXELS_720P,
        {},
        FIRST_AND_LAST_NEGATIVE_PROMPT,
        "last_image",
    ),
    _spec(
        "wan21-t2v",
        "Wan2.1-T2V (1.3B or 14B): videos from text, and remixes of videos.",
        {Task.TEXT_TO_VIDEO, Task.VIDEO_TO_VIDEO},
        _PIXELS_720P,
        _FROM_TEXT,
        NEGATIVE_PROMPT,
        "strength",
    ),
]


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Offer the Wan2.1 models."""
    return MODELS
