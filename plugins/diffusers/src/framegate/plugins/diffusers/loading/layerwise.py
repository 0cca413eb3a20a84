"""Keep weights in eight bits and compute in the model's dtype, layer by layer."""

import re
from typing import Any

import torch
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from torch import nn

STORAGE = torch.float8_e4m3fn
"""What the weights are kept in."""


class CastLinear(nn.Linear):
    """A linear layer whose weight is cast to its input's dtype at each call."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 # torch's name
        """Return the layer's output for ``input``."""
        return nn.functional.linear(input, self.weight.to(input.dtype), self.bias)


class CastConv2d(nn.Conv2d):
    """A convolution whose weight is cast to its input's dtype at each call."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 # torch's name
        """Return the layer's output for ``input``."""
        return self._conv_forward(input, self.weight.to(input.dtype), self.bias)


_CAST: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: CastLinear, nn.Conv2d: CastConv2d}


def store_in_eight_bits(model: Any) -> None:
    """Store the weights of the linear layers and convolutions in the blocks of ``model`` as float8.

    diffusers' `enable_layerwise_casting` does it by hooks that cast a layer before its forward and back after
    it, at which a compiled block would break into a graph for each layer. Here the cast is part of the forward.
    The layers that diffusers leaves out, as they need the precision, are left out here, too.
    """
    skipped = (
        *DEFAULT_SKIP_MODULES_PATTERN,
        *(model._keep_in_fp32_modules or ()),
        *(model._skip_layerwise_casting_patterns or ()),
    )
    for name, module in model.named_modules():
        if type(module) not in _CAST or "blocks." not in name:
            continue
        if any(re.search(pattern, name) for pattern in skipped):
            continue
        module.__class__ = _CAST[type(module)]
        module.weight.data = module.weight.data.to(STORAGE)
