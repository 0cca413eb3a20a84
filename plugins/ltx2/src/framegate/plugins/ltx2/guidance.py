"""Guidance: up to three more forward passes a step, which pull it towards the prompt."""

from typing import Any

OFF: dict[str, Any] = {
    "guidance_scale": 1.0,
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": 1.0,
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "audio_guidance_rescale": 0.0,
    "spatio_temporal_guidance_blocks": None,
}
"""One forward pass a step. ``guidance_scale=1`` alone would leave two of the others on."""

_PERTURBED_BLOCK = {False: 29, True: 28}
"""The block that is perturbed in LTX-2.0 and in 2.3, as the weights' authors recommend."""


def guidance(scale: float, *, newer: bool, num_blocks: int) -> dict[str, Any]:
    """Return the pipelines' arguments for ``guidance_scale=scale``.

    At 1 everything is off; above, the other guidances have the pipelines' defaults, which are the authors'.
    ``newer`` is LTX-2.3. Source: Lightricks/LTX-2, packages/ltx-pipelines/src/ltx_pipelines/utils/constants.py:
    LTX_2_PARAMS and LTX_2_3_PARAMS, ``video_guider_params`` and ``audio_guider_params``.
    """
    if scale <= 1.0:
        return OFF
    block = min(_PERTURBED_BLOCK[newer], num_blocks - 1)
    return {"guidance_scale": scale, "spatio_temporal_guidance_blocks": [block]}
