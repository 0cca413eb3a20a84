"""Guidance: up to three more forward passes a step, which pull it towards the prompt."""

from typing import Any

import torch
from torch import nn

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

_NO_PERTURBATION: dict[str, Any] = {
    "stg_scale": 0.0,
    "audio_stg_scale": 0.0,
    "spatio_temporal_guidance_blocks": None,
}
_PERTURBED_BLOCK = 28
"""The block that is perturbed in LTX-2.3, as the weights' authors recommend."""


def guidance(scale: float, transformer: Any) -> dict[str, Any]:
    """Return the pipelines' arguments for ``guidance_scale=scale``.

    At 1 everything is off; above, the other guidances have the pipelines' defaults, which are the authors'.
    LTX-2.0's blocks can't be perturbed: diffusers makes the pass for it nevertheless, gets the plain one
    again, and adds their difference, which is zero. So that pass is left out.

    Source: LTX_2_PARAMS and LTX_2_3_PARAMS (``video_guider_params`` and ``audio_guider_params``) in
    Lightricks/LTX-2, packages/ltx-pipelines/src/ltx_pipelines/utils/constants.py.
    """
    if scale <= 1.0:
        return OFF
    if not transformer.config.perturbed_attn:
        return {"guidance_scale": scale, **_NO_PERTURBATION}
    block = min(_PERTURBED_BLOCK, len(transformer.transformer_blocks) - 1)
    return {"guidance_scale": scale, "spatio_temporal_guidance_blocks": [block]}


def settle_perturbation(transformer: Any) -> None:
    """Tell each block of ``transformer`` whether to skip its attention as a bool.

    diffusers passes a tensor, and a block that branches on it can't be compiled to one graph.
    """
    for block in transformer.transformer_blocks:
        block.register_forward_pre_hook(_with_bool, with_kwargs=True)


def _with_bool(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    everything = named["all_perturbed"]
    if isinstance(everything, torch.Tensor):
        named = {**named, "all_perturbed": bool(everything)}
    return arguments, named
