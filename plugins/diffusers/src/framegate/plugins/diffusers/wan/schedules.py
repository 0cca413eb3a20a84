"""The noise levels over which weights were distilled to a few steps."""

from typing import Any

import diffusers
import numpy as np
import torch

_Euler: Any = diffusers.FlowMatchEulerDiscreteScheduler  # its methods are typed too narrowly to override
DISTILLED_SHIFT = 5.0
"""Source: ModelTC/LightX2V, configs/distill/wan21 and wan22, ``sample_shift``."""


class DistilledScheduler(_Euler):  # type: ignore[misc] # any class may be subclassed at run time
    """Step by Euler's method over evenly spaced noise levels, shifted, from pure noise down.

    Four steps at shift 5 are at 1, 0.9375, 0.8333 and 0.625. Source: ModelTC/LightX2V,
    lightx2v/models/schedulers/wan/step_distill/scheduler.py, ``set_denoising_timesteps`` with the configs'
    ``denoising_step_list``; ModelTC/Wan2.2-Lightning, wan/utils/fm_solvers_euler.py.
    """

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Lay out the noise levels of ``num_inference_steps`` steps."""
        levels = np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        super().set_timesteps(sigmas=levels.tolist(), device=device)

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
        """Return ``sample`` one noise level further down, in its own dtype as the authors keep it."""
        return super().step(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # untyped in diffusers
            model_output.to(sample.dtype), timestep, sample, **options
        )
