"""Quantise weights."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import structlog
import torch

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.cancellation import layers_of_blocks
from framegate.plugins.diffusers.loading.layerwise import store_in_eight_bits
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.requirements import INSTALL_SMALL

_CONDITION = re.compile(r"norm|_mod\b|modulation|adaln|time_emb", re.IGNORECASE)
"""What diffusers calls layers in blocks that work on a step's time, or on pooled text, not on tokens."""
log = structlog.get_logger(__name__)


def quantize(
    model: Any, options: Options, device: torch.device, dtype: torch.dtype, home: torch.device
) -> str:
    """Quantise the linear layers of a transformer's blocks in place, as ``options.quantize`` says.

    Return the kind that it came to: of the weights alone where the device can't multiply in the other.

    Everything outside of the blocks (embeddings, the head) keeps its precision, and so do LoRAs beside them.
    One layer at a time is brought to ``device``, where it takes a hundredth of the time, then to ``home``.

    Raises:
        GenerationFailed: torchao is missing.
    """
    kind: str = options.quantize
    if kind == "none":
        return kind
    if kind == "fp8-layerwise":
        _check_any(store_in_eight_bits(model, dtype, device, home), model, kind)
        return kind
    if find_spec("torchao") is None:
        raise GenerationFailed(
            f"options.quantize = {kind!r} needs the package torchao on this worker; {INSTALL_SMALL}"
        )
    if kind in ("fp8", "int8") and (reason := _why_unsupported(kind, device)):
        log.info("option_unused", option="quantize", requested=kind, why=reason)
        kind = f"{kind}-weights"
    from torchao.quantization import quantize_  # pyright: ignore[reportMissingTypeStubs] # ships no types

    layers = [
        (name, module) for name, module in layers_of_blocks(model) if isinstance(module, torch.nn.Linear)
    ]
    for name, module in layers:
        quantize_(module, recipe(_kind_for(name, kind), module.weight.dtype), device=device)
        module.to(home)
    _check_any(len(layers), model, kind)
    return kind


def warn_without_compile(quantized: Iterable[str]) -> None:
    """Warn that the kinds that `quantize` came to make an uncompiled model slower, if one does."""
    for kind in {"fp8", "int8"} & set(quantized):
        log.warning(
            "option_slow",
            option="quantize",
            requested=kind,
            why="without compile it is slower than unquantised weights: each layer quantises its input in "
            "kernels of its own",
            remedy="see the log for why nothing is compiled; if it can't be, use 'none', or 'fp8-layerwise' "
            "to save memory",
        )


def _why_unsupported(kind: str, device: torch.device) -> str:
    """Return why a device can't multiply in ``kind``, "" if it can."""
    needed = (8, 9) if kind == "fp8" else (8, 0)
    if device.type != "cuda":
        return f"the device is {device.type}; the weights alone are quantised"
    if torch.cuda.get_device_capability(device) < needed:
        return (
            f"the card is below compute capability {needed[0]}.{needed[1]}; the weights alone are quantised"
        )
    return ""


def recipe(kind: str, dtype: torch.dtype) -> Any:
    """Return torchao's configuration for ``kind`` and weights that are in ``dtype``."""
    from torchao import quantization as recipes  # pyright: ignore[reportMissingTypeStubs] # ships no types

    match kind:
        case "fp8":
            # One scale for each row, which is more exact, gives nothing but bfloat16.
            granularity = recipes.PerRow() if dtype == torch.bfloat16 else recipes.PerTensor()
            return recipes.Float8DynamicActivationFloat8WeightConfig(granularity=granularity)
        case "int8":
            return recipes.Int8DynamicActivationInt8WeightConfig()
        case "fp8-weights":
            return recipes.Float8WeightOnlyConfig()
        case _:
            return recipes.Int8WeightOnlyConfig()


def _kind_for(layer: str, kind: str) -> str:
    """Return what to quantise ``layer`` in where the others are in ``kind``.

    cuBLAS multiplies no fewer than 17 rows of int8, and what works on the condition of a step has one.
    """
    return "int8-weights" if kind == "int8" and _CONDITION.search(layer) else kind


def _check_any(count: int, model: torch.nn.Module, kind: str) -> None:
    if not count:
        why = f"{type(model).__name__} has no blocks with linear layers; its weights stay as they are"
        log.warning("option_unused", option="quantize", requested=kind, why=why)
