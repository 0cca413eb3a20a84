"""LTX-2 (2.0 and 2.3): videos with audio, from text or from a first and a last image."""

from msgspec.structs import replace

from framegate.core.models import Defaults, FrameRule, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Task
from framegate.plugins.diffusers.requirements import MODULES, install_command
from framegate.plugins.ltx2.negative_prompt import NEGATIVE_PROMPT

_DISTILLATION = {"source": "Lightricks/LTX-2", "weight_name": "ltx-2-19b-distilled-lora-384.safetensors"}
"""The LoRA that turns the full weights of LTX-2.0 into the distilled ones."""
_DISTILLATION_23 = {
    "source": "Lightricks/LTX-2.3",
    "weight_name": "ltx-2.3-22b-distilled-lora-384-1.1.safetensors",
}
"""Likewise for LTX-2.3. Source: Lightricks/LTX-2, MODELS-LTX-2.3.md."""
_LICENSE = (
    "LTX-2 Community License, companies with a yearly revenue of 10 million USD or more need a paid one"
)
"""Source: Lightricks/LTX-2, LICENSE of January 5 and of August 11, 2026, "Grant of License"."""
_MAX_SIDE, _MAX_PIXELS = 1920, 1920 * 1088


def _eight_steps(summary: str, lora: dict[str, str], **options: object) -> ModelPreset:
    # Source: constants.py (see `LTX2`): DISTILLED_SIGMA_VALUES, whose guidance is off.
    return ModelPreset(
        summary=summary,
        options={"schedule": "distilled", "loras": [lora], **options},
        defaults=Defaults(num_inference_steps=8, guidance_scale=1.0),
        steps=Range(8, 8),
        guidance=Range(1.0, 1.0),
    )


def _presets(summary: str, two_stage: bool = False) -> dict[str, ModelPreset]:
    refined = {"refine_lora": None} if two_stage else {}
    return {
        "distilled-8step": _eight_steps(summary, _DISTILLATION, **refined),
        "2.3": ModelPreset(
            summary="For the weights of LTX-2.3, whose authors take 30 steps.",
            options={"refine_lora": _DISTILLATION_23} if two_stage else {},
            defaults=Defaults(num_inference_steps=30),  # constants.py: LTX_2_3_PARAMS
        ),
        "2.3-distilled-8step": _eight_steps(f"{summary[:-1]}, for LTX-2.3.", _DISTILLATION_23, **refined),
    }


LTX2 = ModelSpec(
    id="ltx2",
    summary="LTX-2: videos with audio, from text or images.",
    license=_LICENSE,
    backend="framegate.plugins.ltx2.backend:Ltx2Backend",
    needs_source=True,
    options_type="framegate.plugins.ltx2.backend:Ltx2Options",
    requires=MODULES,
    install=install_command("ltx2"),
    presets=_presets("The distillation LoRA: 8 steps without guidance, some 20 times faster."),
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    parameters=frozenset({"negative_prompt", "last_image"}),
    sizes=SizeRule(multiple_of=32, min_side=64, max_side=_MAX_SIDE, max_pixels=_MAX_PIXELS),
    frames=FrameRule(step=8, offset=1, min=9, max=257),
    fps=Range(8, 60),
    steps=Range(2, 100),  # the schedule divides by zero with one
    guidance=Range(1.0, 20.0),
    # Source: Lightricks/LTX-2, packages/ltx-pipelines/src/ltx_pipelines/utils/constants.py: LTX_2_PARAMS. The
    # size is the clients' ltx2_landscape; the authors' own is 768×512.
    defaults=Defaults(
        width=1024,
        height=576,
        num_frames=121,
        fps=24.0,
        num_inference_steps=40,
        guidance_scale=3.0,
        negative_prompt=NEGATIVE_PROMPT,
    ),
)
TWO_STAGE = replace(
    LTX2,
    id="ltx2-two-stage",
    summary="LTX-2 at half the width and height, then upsampled and refined in three steps.",
    options={"stages": 2, "refine_lora": _DISTILLATION},
    presets=_presets("The distillation LoRA in both stages: 8 and 3 steps.", two_stage=True),
    sizes=SizeRule(multiple_of=64, min_side=128, max_side=_MAX_SIDE, max_pixels=_MAX_PIXELS),
    defaults=Defaults(width=1920, height=1088).over(LTX2.defaults),  # constants.py: LTX_2_3_HQ_PARAMS
)


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Offer LTX-2 in one and in two stages."""
    return [LTX2, TWO_STAGE]
