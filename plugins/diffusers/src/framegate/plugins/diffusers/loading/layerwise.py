"""Keep weights in eight bits and compute in the model's dtype, layer by layer."""

import re
from typing import Any

import torch
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from torch import nn

from framegate.plugins.diffusers.cancellation import layers_of_blocks

STORAGE = torch.float8_e4m3fn
"""What the weights are kept in."""


class _CastWeight(nn.Module):
    """A layer whose ``weight`` is cast from ``stored`` whenever it is used."""

    stored: torch.Tensor
    compute_dtype: torch.dtype

    @property
    def weight(self) -> torch.Tensor:
        """Return the weight as the layer computes with it, which is also what LoRAs are loaded as."""
        return self.stored.to(self.compute_dtype)


class CastLinear(_CastWeight, nn.Linear):  # type: ignore[override] # the property replaces it
    """A linear layer with a weight of eight bits."""


class CastConv2d(_CastWeight, nn.Conv2d):  # type: ignore[override] # the property replaces it
    """A convolution with a weight of eight bits."""


_CAST: dict[type[nn.Module], type[_CastWeight]] = {nn.Linear: CastLinear, nn.Conv2d: CastConv2d}


def store_in_eight_bits(model: Any, dtype: torch.dtype, device: torch.device, home: torch.device) -> int:
    """Store the weights of the linear layers and convolutions in the blocks of ``model`` as float8.

    They compute in ``dtype``; how many there are is returned. One at a time is brought to ``device``, which
    casts it faster, and then to ``home``.

    diffusers' `enable_layerwise_casting` does it by hooks that cast a layer before its forward and back after
    it, at which a compiled block would break into a graph for each layer. Here the cast is part of the
    forward. Layers that diffusers leaves out, as they need the precision, are left out here, too.
    """
    skipped = (
        *DEFAULT_SKIP_MODULES_PATTERN,
        *(model._keep_in_fp32_modules or ()),
        *(model._skip_layerwise_casting_patterns or ()),
    )
    layers: list[Any] = [
        module
        for name, module in layers_of_blocks(model)
        if type(module) in _CAST and not any(re.search(pattern, name) for pattern in skipped)
    ]
    for module in layers:
        stored = module.weight.detach().to(device).to(STORAGE).to(home)
        del module.weight
        module.register_parameter("stored", nn.Parameter(stored, requires_grad=False))
        module.compute_dtype = dtype
        module.__class__ = _CAST[type(module)]
    return len(layers)
