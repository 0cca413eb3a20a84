"""Where a model's weights are kept: on the device, in host memory, or in turn."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import structlog
import torch
from msgspec import Struct

from framegate.core.errors import OutOfMemory
from framegate.plugins.diffusers.memory import free_bytes
from framegate.plugins.diffusers.options import Options

Offload: TypeAlias = Literal["none", "text-encoder", "model", "group"]
"""``options.offload``, decided."""
GIB = 2**30
"""Bytes."""
RESERVED = GIB
"""Bytes for CUDA itself and for fragmentation."""
log = structlog.get_logger(__name__)


class Placement(Struct, frozen=True):
    """How weights are placed, and what that takes.

    ``resident`` are the device's bytes that the weights hold between jobs, ``peak`` those during one,
    activations included.
    """

    offload: Offload
    resident: int
    peak: int


def choose_placement(requested: str, sizes: Mapping[str, int], *, capacity: int, headroom: int) -> Placement:
    """Return the placement ``requested``, or with "auto" the first that fits a device of ``capacity`` bytes.

    ``sizes`` are the bytes of each component as it is kept, ``headroom`` those that activations need.
    """
    total, largest = sum(sizes.values()), max(sizes.values(), default=0)
    ways = {
        "none": Placement("none", total, total + headroom),
        "model": Placement("model", 0, largest + headroom),
        # Two blocks of some forty, and what is not part of a block.
        "group": Placement("group", 0, largest // 10 + headroom),
    }
    if requested != "auto":
        return ways[requested]
    fitting = (way for way in ways.values() if way.peak <= capacity - RESERVED)
    return next(fitting, ways["group"])


def plan_placement(
    options: Options, sizes: Mapping[str, int], device: torch.device, headroom: int
) -> Placement:
    """Return the placement on ``device``; the host's memory is not managed.

    Raises:
        OutOfMemory: The device is large enough, but other models and programs hold too much of it now.
    """
    if device.type != "cuda":
        if options.offload not in ("auto", "none"):
            log.info("option_unused", option="offload", why=f"the device is {device.type}, not CUDA")
        return choose_placement("none", sizes, capacity=0, headroom=headroom)
    _, capacity = torch.cuda.mem_get_info(device)
    placement = choose_placement(
        options.offload, sizes, capacity=capacity, headroom=options.headroom or headroom
    )
    if (free := free_bytes(device)) < placement.peak and capacity - RESERVED >= placement.peak:
        raise OutOfMemory(
            f"The model needs {placement.peak / GIB:.1f} GiB of the GPU; {free / GIB:.1f} GiB of "
            f"{capacity / GIB:.1f} are free."
        )
    log.info("model_placed", offload=placement.offload, resident=placement.resident, peak=placement.peak)
    return placement
