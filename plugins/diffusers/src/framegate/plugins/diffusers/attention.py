"""Which kernel computes attention."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import structlog
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

from framegate.core.errors import GenerationFailed

NATIVE = "native"
log = structlog.get_logger(__name__)


def use_attention(models: Sequence[Any], asked: str, device: torch.device, dtype: torch.dtype) -> str:
    """Set the backend ``asked`` for, or the fastest exact one; its name in diffusers' words.

    Raises:
        GenerationFailed: there is no such backend.
    """
    if asked == "auto":
        wished, why = fastest(device, dtype)
    else:
        wished, why = asked, "asked for"
    names = [name.value for name in AttentionBackendName]
    if wished not in names:
        raise GenerationFailed(f"There is no attention backend {wished!r}; there are {', '.join(names)}.")
    if device.type != "cuda" and wished not in (NATIVE, "_native_math", "flex"):
        wished, why = NATIVE, f"{wished} needs CUDA and the device is {device.type}"
    try:
        _try(wished, device, dtype)
        _set(models, wished)
    except (RuntimeError, ImportError, OSError, ValueError) as error:
        log.warning("option_unused", option="attention", asked=wished, why=str(error))
        wished, why = NATIVE, f"{wished} is not usable here"
        _set(models, wished)
    log.info("attention_chosen", backend=wished, why=why)
    return wished


def _try(name: str, device: torch.device, dtype: torch.dtype) -> None:
    """A kernel that is installed may still not run on the card."""
    tokens = torch.zeros((1, 256, 4, 128), device=device, dtype=dtype)
    with torch.no_grad():
        dispatch_attention_fn(tokens, tokens, tokens, backend=AttentionBackendName(name))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest(device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """The fastest exact backend for a device, and why."""
    if device.type != "cuda":
        return NATIVE, f"the device is {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return NATIVE, f"{dtype} is computed by the native kernel alone"
    capability = torch.cuda.get_device_capability(device)
    return fastest_on(
        capability,
        cudnn=bool(torch.backends.cudnn.is_available()),  # type: ignore[no-untyped-call] # untyped in torch
        flash_3=find_spec("flash_attn_interface") is not None,
    )


def fastest_on(capability: tuple[int, int], *, cudnn: bool, flash_3: bool) -> tuple[str, str]:
    """As `fastest`, from what is known of a CUDA device."""
    if flash_3 and capability[0] == 9:
        return "_flash_3", "FlashAttention 3 is installed and the card is a Hopper"
    if cudnn and capability[0] >= 9:
        return "_native_cudnn", "cuDNN's kernel is the fastest built-in one from compute capability 9.0"
    return NATIVE, f"PyTorch chooses its kernel for compute capability {capability[0]}.{capability[1]}"


def _set(models: Sequence[Any], name: str) -> None:
    for model in models:
        model.set_attention_backend(name)
