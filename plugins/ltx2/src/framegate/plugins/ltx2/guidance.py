"""What pulls every step towards the prompt: up to three more forward passes beside the one that is needed."""

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
"""Of LTX-2.0, and of 2.3: the block that is perturbed, as the weights' authors recommend."""


def guidance(scale: float, *, newer: bool, num_blocks: int) -> dict[str, Any]:
    """The pipelines' arguments for ``guidance_scale=scale``; with 1 everything is off, else the guidances
    beside it have the pipelines' defaults. ``newer``: LTX-2.3."""
    if scale <= 1.0:
        return OFF
    block = min(_PERTURBED_BLOCK[newer], num_blocks - 1)
    return {"guidance_scale": scale, "spatio_temporal_guidance_blocks": [block]}
