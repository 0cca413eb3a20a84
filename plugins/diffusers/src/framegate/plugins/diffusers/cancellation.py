"""Points inside models at which a cancelled job stops."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers.models.attention import FeedForward
from torch import nn

BLOCKS_AHEAD = 2
"""Blocks that may be queued on a CUDA device while one is running: enough to keep it busy."""


class CancelPoints:
    """Call the running job's check before every block of the models in which it is installed.

    A CUDA device runs behind the host, which could queue whole steps and notice a cancellation seconds too
    late; so the host waits for the block before the last one.
    """

    def __init__(self, device: torch.device) -> None:
        self._check: Callable[[], None] | None = None
        self._on_cuda = device.type == "cuda"
        self._queued: deque[torch.cuda.Event] = deque()

    def install(self, *models: nn.Module) -> None:
        """Add a cancel point before every block of ``models``."""
        for model in models:
            for block in blocks_of(model):
                block.register_forward_pre_hook(self._enter)

    @contextmanager
    def armed(self, check: Callable[[], None]) -> Generator[None]:
        """Call ``check``, which raises if the job was cancelled, at every point."""
        self._check = check
        try:
            yield
        finally:
            self._check = None
            self._queued.clear()

    def _enter(self, module: nn.Module, arguments: object) -> None:
        if self._check is None:
            return
        if self._on_cuda:
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call] # untyped in torch
            event.record()
            self._queued.append(event)
            if len(self._queued) > BLOCKS_AHEAD:
                self._queued.popleft().synchronize()
        self._check()


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks that ``model`` is stacked from: the members of its outermost module lists.

    diffusers' feed-forward layers are lists of their parts, which are no blocks.
    """
    blocks: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            blocks.extend(child.children())
        elif not isinstance(child, FeedForward):
            blocks.extend(blocks_of(child))
    return blocks


def layers_of_blocks(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the modules inside the blocks of ``model`` by their names in it, but for those of LoRAs."""
    inside = {module for block in blocks_of(model) for module in block.modules()}
    named = cast("Any", model).named_modules()  # untyped in torch
    return [(name, module) for name, module in named if module in inside and "lora_" not in name]
