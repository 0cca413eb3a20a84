"""LTX-2's defaults beside those of its authors."""

from inspect import signature
from types import SimpleNamespace

import pytest

from framegate.core.models import ModelSpec
from framegate.plugins.ltx2 import LTX2, TWO_STAGE
from framegate.plugins.ltx2.guidance import guidance
from framegate.plugins.ltx2.negative_prompt import NEGATIVE_PROMPT


@pytest.mark.parametrize("spec", [LTX2, TWO_STAGE], ids=lambda spec: spec.id)
def test_the_defaults_are_those_of_the_authors(spec: ModelSpec) -> None:
    # Lightricks/LTX-2, ltx_pipelines/utils/constants.py: LTX_2_PARAMS, LTX_2_3_PARAMS
    defaults = spec.defaults
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (40, 3.0)
    assert (defaults.num_frames, defaults.fps) == (121, 24.0)
    assert defaults.negative_prompt == NEGATIVE_PROMPT
    newer = spec.with_preset("2.3").defaults
    assert (newer.num_inference_steps, newer.guidance_scale) == (30, 3.0)


def test_the_negative_prompt_is_that_which_diffusers_took_over() -> None:
    from diffusers.pipelines.ltx2.utils import DEFAULT_NEGATIVE_PROMPT

    assert NEGATIVE_PROMPT == DEFAULT_NEGATIVE_PROMPT


@pytest.mark.parametrize("name", ["LTX2Pipeline", "LTX2ConditionPipeline"])
def test_the_guidances_beside_that_by_the_prompt_are_the_authors(name: str) -> None:
    """A pipeline that changed its own would otherwise change ours unnoticed."""
    import diffusers

    authors = {
        "guidance_scale": 3.0,
        "stg_scale": 1.0,
        "modality_scale": 3.0,
        "guidance_rescale": 0.7,
        "audio_guidance_scale": 7.0,
        "audio_stg_scale": 1.0,
        "audio_modality_scale": 3.0,
        "audio_guidance_rescale": 0.7,
    }
    parameters = signature(getattr(diffusers, name).__call__).parameters
    ours = {key: parameters[key].default for key in authors} | guidance(3.0, transformer(newer=True))
    assert {key: ours[key] for key in authors} == authors
    assert ours["spatio_temporal_guidance_blocks"] == [28]


def test_blocks_that_can_not_be_perturbed_are_not() -> None:
    """The pass would be the plain one again."""
    left_out = {"stg_scale": 0.0, "audio_stg_scale": 0.0, "spatio_temporal_guidance_blocks": None}
    assert guidance(3.0, transformer(newer=False)) == {"guidance_scale": 3.0, **left_out}


def transformer(*, newer: bool) -> SimpleNamespace:
    return SimpleNamespace(config=SimpleNamespace(perturbed_attn=newer), transformer_blocks=[None] * 48)


def test_the_sigmas_and_the_compression_of_images_are_the_authors() -> None:
    from diffusers.pipelines.ltx2 import utils

    # DISTILLED_SIGMA_VALUES, STAGE_2_DISTILLED_SIGMA_VALUES and DEFAULT_IMAGE_CRF
    first = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875]
    assert first == utils.DISTILLED_SIGMA_VALUES
    assert first[5:] == utils.STAGE_2_DISTILLED_SIGMA_VALUES
    assert utils.DEFAULT_IMAGE_CRF == 33


def test_presets_for_the_newer_weights_take_their_own_lora() -> None:
    assert LTX2.with_preset("distilled-8step").options["loras"][0]["source"] == "Lightricks/LTX-2"
    assert LTX2.with_preset("2.3-distilled-8step").options["loras"][0]["source"] == "Lightricks/LTX-2.3"
    assert TWO_STAGE.with_preset("2.3").options["refine_lora"]["source"] == "Lightricks/LTX-2.3"
    assert TWO_STAGE.with_preset("2.3-distilled-8step").options["refine_lora"] is None
    assert "10 million USD" in LTX2.with_preset("2.3").license
