"""Compiling the blocks that transformers repeat, each once for all."""

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
log = structlog.get_logger(__name__)


def compile_wanted(options: Options, device: torch.device, offload: str) -> bool:
    """Whether the blocks are to be compiled; where they were to be and can't, the log says why."""
    if options.compile is False:
        return False
    if device.type != "cuda":
        why = f"the device is {device.type}, not CUDA"
    elif which("cc") is None and which("gcc") is None and "CC" not in os.environ:
        why = "there is no C compiler on this worker"
    elif torch.cuda.get_device_capability(device) < (7, 0):
        why = "the card is older than compute capability 7.0"
    elif offload == "group":
        why = "the weights are streamed in groups"
    else:
        return True
    if options.compile is True or device.type == "cuda":
        log.info("option_unused", option="compile", why=why)
    return False


def keep_compiled(options: Options) -> Path:
    """Have PyTorch keep what it compiles across processes; the folder."""
    folder = Path(options.compile_cache or DEFAULT_CACHE).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")
    return folder


def compile_blocks(model: Any, *, whole: bool = True, backend: str | Callable[..., Any] = "inductor") -> int:
    """Compile the ``forward`` of every block that ``model`` repeats; how many there are.

    The forward and not the module: hooks (cancel points, step caches) stay outside of what is compiled.
    ``whole`` demands one graph a block; layers with hooks of their own can't give that.
    """
    blocks = repeated_blocks(model)
    for block in blocks:
        block.forward = torch.compile(block.forward, fullgraph=whole, backend=backend)
    return len(blocks)


def repeated_blocks(model: Any) -> list[nn.Module]:
    """The modules of the classes that diffusers names as worth compiling."""
    names: list[str] = getattr(model, "_repeated_blocks", None) or []
    return [module for module in model.modules() if type(module).__name__ in names]
