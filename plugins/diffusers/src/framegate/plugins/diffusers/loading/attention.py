"""Which kernel computes attention."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import structlog
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

NATIVE = "native"
log = structlog.get_logger(__name__)


def set_attention_backend(
    models: Sequence[Any], requested: str, device: torch.device, dtype: torch.dtype
) -> str:
    """Set the attention backend of ``models`` and return its name.

    "auto" is the fastest exact one. Where the requested one can't run, it is PyTorch's own.
    """
    if requested == "auto":
        chosen, why = fastest_backend(device, dtype)
    else:
        chosen, why = requested, "requested"
    if device.type != "cuda" and chosen not in (NATIVE, "_native_math", "flex"):
        chosen, why = NATIVE, f"{chosen} needs CUDA and the device is {device.type}"
    try:
        _try(chosen, device, dtype)
        _set(models, chosen)
    except (RuntimeError, ImportError, OSError, ValueError) as error:
        log.warning("option_unused", option="attention", requested=chosen, why=str(error))
        chosen, why = NATIVE, f"{chosen} can't run here"
        _set(models, chosen)
    log.info("attention_chosen", backend=chosen, why=why)
    return chosen


def _try(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Run the kernel once: an installed one may still not run on this card."""
    tokens = torch.zeros((1, 256, 4, 128), device=device, dtype=dtype)
    with torch.no_grad():
        dispatch_attention_fn(tokens, tokens, tokens, backend=AttentionBackendName(name))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest_backend(device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """Return the fastest exact backend for a device, and the reason."""
    if device.type != "cuda":
        return NATIVE, f"the device is {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return NATIVE, f"{dtype} is only computed by the native kernel"
    capability = torch.cuda.get_device_capability(device)
    return fastest_cuda_backend(
        capability,
        cudnn=bool(torch.backends.cudnn.is_available()),  # type: ignore[no-untyped-call] # untyped in torch
        flash_3=find_spec("flash_attn_interface") is not None,
    )


def fastest_cuda_backend(capability: tuple[int, int], *, cudnn: bool, flash_3: bool) -> tuple[str, str]:
    """Return the fastest exact backend for a CUDA card of compute ``capability``, and the reason."""
    if flash_3 and capability[0] == 9:
        return "_flash_3", "FlashAttention 3 is installed and the card is a Hopper"
    if cudnn and capability[0] >= 9:
        return "_native_cudnn", "cuDNN's kernel is the fastest built-in one from compute capability 9.0"
    return NATIVE, f"PyTorch chooses its kernel for compute capability {capability[0]}.{capability[1]}"


def _set(models: Sequence[Any], name: str) -> None:
    for model in models:
        model.set_attention_backend(name)
