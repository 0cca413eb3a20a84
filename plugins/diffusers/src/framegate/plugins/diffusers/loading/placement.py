"""Place a model's weights: on the device, in host memory, or in turn."""

import structlog
import torch

from framegate.core.errors import OutOfMemory
from framegate.core.types import ShotSize
from framegate.plugins.diffusers.memory import free_bytes
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.memory import ModelMemory
from framegate.plugins.diffusers.planning.placement import GIB, RESERVED, Placement, keeps_less

log = structlog.get_logger(__name__)


def capacity_of(device: torch.device) -> int:
    """Return the bytes of a CUDA device, 0 for others, whose memory is not managed."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else 0


def plan_shot(
    present: Placement, options: Options, memory: ModelMemory, capacity: int, size: ShotSize
) -> Placement | None:
    """Return the placement that a shot of ``size`` needs if it has to keep less than ``present``, else None.

    Only "auto" moves, and only this way, so that what one large shot needed is not undone by a small one.
    """
    if options.offload != "auto" or not capacity:
        return None
    needed = memory.placement(capacity, size=size)
    return needed if keeps_less(needed, present) else None


def plan_placement(options: Options, memory: ModelMemory, device: torch.device) -> Placement:
    """Return the placement on ``device``; the host's memory is not managed.

    Raises:
        OutOfMemory: The device is large enough, but other models and programs hold too much of it now.
    """
    if device.type != "cuda":
        if options.offload not in ("auto", "none"):
            log.info("option_unused", option="offload", why=f"the device is {device.type}, not CUDA")
        return memory.placement(0, offload="none")
    capacity = capacity_of(device)
    placement = memory.placement(capacity)
    if (free := free_bytes(device)) < placement.peak and capacity - RESERVED >= placement.peak:
        raise OutOfMemory(
            f"The model needs {placement.peak / GIB:.1f} GiB of the GPU; {free / GIB:.1f} GiB of "
            f"{capacity / GIB:.1f} are free."
        )
    log.info(
        "model_placed",
        offload=placement.offload,
        resident=placement.resident,
        size=str(memory.size),
        tiled=placement.tiled,
        **placement.phases,
    )
    return placement
