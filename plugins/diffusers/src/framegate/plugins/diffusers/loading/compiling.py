"""Compile the blocks that transformers repeat, each kind once."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import structlog
import torch
from torch import nn

from framegate.plugins.diffusers.options import Options

DEFAULT_CACHE = Path("~/.cache/framegate/compiled")
"""Where compiled code is kept unless ``options.compile_cache`` names a folder."""
log = structlog.get_logger(__name__)


def should_compile(options: Options, device: torch.device, offload: str) -> bool:
    """Return whether to compile the blocks; where that was requested but can't be done, log the reason."""
    if options.compile is False:
        return False
    if device.type != "cuda":
        why = f"the device is {device.type}, not CUDA"
    elif which("cc") is None and which("gcc") is None and "CC" not in os.environ:
        why = "there is no C compiler on this worker"
    elif torch.cuda.get_device_capability(device) < (7, 0):
        why = "the card is older than compute capability 7.0"
    else:
        return True
    if options.compile is True or device.type == "cuda":
        log.info("option_unused", option="compile", why=why)
    return False


def set_compile_cache(options: Options) -> Path:
    """Make PyTorch keep what it compiles across processes, and return the folder."""
    folder = Path(options.compile_cache or DEFAULT_CACHE).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")
    return folder


def compile_blocks(model: Any, *, whole: bool = True, backend: str | Callable[..., Any] = "inductor") -> int:
    """Compile the ``forward`` of every block that ``model`` repeats, and return how many there are.

    The forward and not the module: hooks (cancel points, step caches) stay outside of what is compiled.
    ``whole`` demands one graph per block, which layers with hooks of their own don't allow.
    """
    blocks = repeated_blocks(model)
    for block in blocks:
        block.forward = torch.compile(block.forward, fullgraph=whole, backend=backend)
    return len(blocks)


def repeated_blocks(model: Any) -> list[nn.Module]:
    """Return the modules whose classes diffusers names as worth compiling."""
    names: list[str] = getattr(model, "_repeated_blocks", None) or []
    return [module for module in model.modules() if type(module).__name__ in names]
