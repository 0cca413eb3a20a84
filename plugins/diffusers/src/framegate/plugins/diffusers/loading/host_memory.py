"""Page-locked host memory, which a GPU copies from at full speed and without the processor's help."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

SLAB = 2**30
"""Bytes that are page-locked at once. PyTorch rounds each request up to a power of two."""
KEPT_FREE = 4 * 2**30
"""Bytes of the host's memory that are left to everything else."""
GROUPS = Path("/sys/fs/cgroup")
"""The control groups, one of which limits a container."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""The groups of this process."""

_ALIGNMENT = 512


class PinnedMemory:
    """Page-locked memory for tensors, taken in slabs as long as the host keeps ``KEPT_FREE`` bytes.

    ``available`` returns the bytes that this process can still take, ``allocate`` returns that many
    page-locked bytes.
    """

    def __init__(
        self,
        available: Callable[[], int] | None = None,
        allocate: Callable[[int], torch.Tensor] | None = None,
    ) -> None:
        self._available = available or available_bytes
        self._allocate = allocate or _allocate
        self._slabs: list[_Slab] = []
        self.pinned = 0
        self.pageable = 0

    def pin(self, tensor: torch.Tensor) -> None:
        """Move the data of ``tensor``, or of those that a quantised one consists of, if there is room."""
        for part in plain_tensors(tensor):
            data = part.detach()
            if any(slab.holds(data) for slab in self._slabs):
                continue
            # Whatever leaves gaps, or overlaps, has no memory of its own to move.
            dense = torch.empty_like(data, device="meta").stride() == data.stride()
            memory = self._take(data.nbytes) if dense and data.nbytes else None
            if memory is None:
                self.pageable += data.nbytes
                continue
            moved = memory.view(data.dtype).as_strided(data.size(), data.stride())
            part.data = moved.copy_(data)
            self.pinned += data.nbytes

    def _take(self, size: int) -> torch.Tensor | None:
        for slab in self._slabs:
            if (memory := slab.take(size)) is not None:
                return memory
        new = max(SLAB, 2 ** (size - 1).bit_length())
        if self._available() - new < KEPT_FREE:
            return None
        self._slabs.append(_Slab(self._allocate(new)))
        return self._slabs[-1].take(size)


class _Slab:
    def __init__(self, memory: torch.Tensor) -> None:
        self._memory = memory
        self._used = 0

    def holds(self, tensor: torch.Tensor) -> bool:
        """Return whether the data of ``tensor`` is here."""
        return 0 <= tensor.data_ptr() - self._memory.data_ptr() < self._memory.nbytes

    def take(self, size: int) -> torch.Tensor | None:
        """Return the next ``size`` bytes, None if fewer are left."""
        start, end = self._used, self._used + size
        if end > self._memory.numel():
            return None
        self._used = -(-end // _ALIGNMENT) * _ALIGNMENT
        return self._memory[start:end]


def _allocate(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what ``tensor`` is made of: itself, or the parts of a quantised one."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from plain_tensors(getattr(tensor, name))


def available_bytes() -> int:
    """Return the bytes that this process can take of the host's memory without swapping."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups()]))


def _left_in_groups() -> Iterator[int]:
    """Yield what each control group around this process leaves of its limit, file cache not counted."""
    if not MEMBERSHIP.is_file():
        return
    for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top, names = GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            top = GROUPS / "memory"
        else:
            continue
        group = top / path.lstrip("/")
        # In a container the path may be the host's, and then only its own group can be seen, at the top.
        for folder in [group, *group.parents]:
            if folder.is_relative_to(top) and (left := _left_in_group(folder, *names)) is not None:
                yield left


def _left_in_group(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    try:
        limit, used, statistics = (
            (folder / name).read_text(encoding="utf-8").strip()
            for name in (limit_name, used_name, "memory.stat")
        )
    except OSError:
        return None
    if not limit.isdigit():  # "max"
        return None
    cached = dict(line.split() for line in statistics.splitlines()).get(cache_name, "0")
    return int(limit) - int(used) + int(cached)
