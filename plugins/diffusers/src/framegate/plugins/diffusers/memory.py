"""What happens when a device runs out of memory."""

import gc
import traceback
from types import TracebackType

import structlog
import torch

from framegate.core.errors import OutOfMemory
from framegate.core.types import Shot

log = structlog.get_logger(__name__)


def release(device: torch.device) -> None:
    """Return unused memory to the device, and to the host what was page-locked for it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can be allocated on a CUDA device now, the allocator's own reserve included."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that the host or the device ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU's allocator and cuDNN have no class of their own for it; a convolution finds no engine where
    # each lacks memory to work in.
    return isinstance(error, RuntimeError) and any(
        sign in str(error)
        for sign in (
            "allocate memory",
            "not enough memory",
            "out of memory",
            "_STATUS_ALLOC_FAILED",
            "unable to find an engine",
        )
    )


class oom_as_job_error:  # noqa: N801 # reads as a statement: with oom_as_job_error("denoising", device, shot)
    """Raise `OutOfMemory` with advice in place of an allocator's error, after freeing what the block holds.

    ``doing`` completes the sentence "ran out of memory while …", such as "denoising"; the size of ``shot``
    follows it.
    """

    def __init__(self, doing: str, device: torch.device, shot: Shot | None = None) -> None:
        self._doing = doing
        self._device = device
        self._shot = shot

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            return
        # The frames that failed hold the tensors that filled the memory.
        traceback.clear_frames(trace)
        release(self._device)
        log.warning("out_of_memory", doing=self._doing, device=str(self._device), **self._measured())
        place = "The worker" if self._device.type == "cpu" else "The GPU"
        raise OutOfMemory(f"{place} ran out of memory while {self._doing}{_advice(self._shot)}") from None

    def _measured(self) -> dict[str, int]:
        if self._device.type != "cuda":
            return {}
        return {
            "free": free_bytes(self._device),
            "peak": torch.cuda.max_memory_allocated(self._device),
        }


def _advice(shot: Shot | None) -> str:
    if shot is None:
        return "; another offload or quantize in the model's options makes it smaller."
    width, height = (max(32, int(side * 0.7) // 32 * 32) for side in (shot.width, shot.height))
    smaller = f"{width}×{height}"
    if shot.num_frames > 8 and shot.fps:
        smaller += f" or {shot.num_frames // 8 * 4 + 1} frames"
        what = f"{shot.width}×{shot.height} with {shot.num_frames} frames"
    else:
        what = f"{shot.width}×{shot.height}"
    return f" {what}. Lower the resolution or the number of frames: {smaller} should need about half of it."
