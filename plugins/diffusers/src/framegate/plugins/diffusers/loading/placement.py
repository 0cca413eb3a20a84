"""Place a model's weights: on the device, in host memory, or in turn."""

import structlog
import torch

from framegate.core.errors import OutOfMemory
from framegate.plugins.diffusers.memory import free_bytes
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.memory import ModelMemory
from framegate.plugins.diffusers.planning.placement import GIB, RESERVED, Placement

log = structlog.get_logger(__name__)


def plan_placement(options: Options, memory: ModelMemory, device: torch.device) -> Placement:
    """Return the placement on ``device``; the host's memory is not managed.

    Raises:
        OutOfMemory: The device is large enough, but other models and programs hold too much of it now.
    """
    if device.type != "cuda":
        if options.offload not in ("auto", "none"):
            log.info("option_unused", option="offload", why=f"the device is {device.type}, not CUDA")
        return memory.placement(0, offload="none")
    _, capacity = torch.cuda.mem_get_info(device)
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
