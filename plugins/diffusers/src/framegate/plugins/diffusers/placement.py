"""Where a model's weights lie while it works."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import structlog
import torch
from msgspec import Struct

from framegate.core.errors import OutOfMemory
from framegate.plugins.diffusers.memory import free_bytes
from framegate.plugins.diffusers.options import Options

Offload: TypeAlias = Literal["none", "model", "group"]
GIB = 2**30
RESERVED = GIB
"""What CUDA itself and fragmentation take."""
log = structlog.get_logger(__name__)


class Placement(Struct, frozen=True):
    """``resident``: bytes of the device that the weights hold between jobs, ``peak`` during one, activations
    included."""

    offload: Offload
    resident: int
    peak: int


def choose(asked: str, sizes: Mapping[str, int], *, capacity: int, headroom: int) -> Placement:
    """The first of the ways that fits a device of ``capacity`` bytes, or the one that was asked for.

    ``sizes`` are the bytes of each component as it is kept, ``headroom`` what activations need.
    """
    total, largest = sum(sizes.values()), max(sizes.values(), default=0)
    ways = {
        "none": Placement("none", total, total + headroom),
        "model": Placement("model", 0, largest + headroom),
        # Two blocks of some forty, and what is not part of a block.
        "group": Placement("group", 0, largest // 10 + headroom),
    }
    if asked != "auto":
        return ways[asked]
    fitting = (way for way in ways.values() if way.peak <= capacity - RESERVED)
    return next(fitting, ways["group"])


def placed(options: Options, sizes: Mapping[str, int], device: torch.device, headroom: int) -> Placement:
    """What `choose` says of ``device``; the host's memory is not managed.

    Raises:
        OutOfMemory: the device could hold it, but for what other models and programs hold now.
    """
    if device.type != "cuda":
        if options.offload not in ("auto", "none"):
            log.info("option_unused", option="offload", why=f"the device is {device.type}, not CUDA")
        return choose("none", sizes, capacity=0, headroom=headroom)
    _, capacity = torch.cuda.mem_get_info(device)
    placement = choose(options.offload, sizes, capacity=capacity, headroom=options.headroom or headroom)
    if (free := free_bytes(device)) < placement.peak and capacity - RESERVED >= placement.peak:
        raise OutOfMemory(
            f"The model needs {placement.peak / GIB:.1f} GiB of the GPU; {free / GIB:.1f} GiB of "
            f"{capacity / GIB:.1f} are free."
        )
    log.info("model_placed", offload=placement.offload, resident=placement.resident, peak=placement.peak)
    return placement


def place(pipeline: Any, placement: Placement, device: torch.device) -> None:
    """Move ``pipeline`` as ``placement`` says. Another pipeline of the same components is placed again before
    it is used."""
    if placement.offload == "none":
        pipeline.to(device)
    elif placement.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            onload_device=device,
            offload_type="leaf_level",
            use_stream=True,
            low_cpu_mem_usage=True,
        )


def onload(module: Any) -> None:
    """Have ``module`` on its device although a part of it is called directly, past the hooks of "model"."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward(module)


def size_of(module: torch.nn.Module) -> int:
    """The bytes of its parameters and buffers as they are now."""
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
