"""Stream a model's blocks to the device, each while the one before it runs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from framegate.plugins.diffusers.loading.host_memory import PinnedMemory
from framegate.plugins.diffusers.loading.hosted_weights import HostedWeights


class StreamedBlocks:
    """Weights of ``blocks``, of which two are on the device: the one that runs and the next.

    One that was fetched and then doesn't run stays there as a third until the model is taken off.

    CUDA copies on a stream of its own. Memory is allocated and freed on the stream that computes, so a copy
    starts when all that was queued there before is done, that is, when the block before the running one is.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device) -> None:
        self._weights = [HostedWeights(block, device) for block in blocks]
        self._copied: list[Any] = [None] * len(blocks)  # events, until the blocks are used
        self._stream = new_stream(device) if device.type == "cuda" else None
        # Hooks of the modules, not around `forward`: they stay outside of what is compiled.
        for index, block in enumerate(blocks):
            block.register_forward_pre_hook(partial(self._before, index))
            block.register_forward_hook(partial(self._after, index))

    def pin(self, memory: PinnedMemory) -> None:
        """Move the master copies into page-locked memory, as far as there is any."""
        for weights in self._weights:
            weights.pin(memory)

    def onload(self) -> None:
        """Do nothing: each block comes when it is due."""

    def offload(self) -> None:
        """Take the blocks off the device that an unfinished or a finished pass left there."""
        for index in range(len(self._weights)):
            self._drop(index)

    def _before(self, index: int, *_: object) -> None:
        self._fetch(index)
        self._await(index)
        self._fetch((index + 1) % len(self._weights))  # after the last, guidance begins again

    def _after(self, index: int, *_: object) -> None:
        self._drop(index)

    def _fetch(self, index: int) -> None:
        if self._weights[index].onloaded:
            return
        if self._stream is None:
            self._weights[index].onload()
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        try:
            self._weights[index].onload(self._stream)
        except BaseException:
            torch.cuda.current_stream().wait_stream(self._stream)  # it may still write to what was freed
            raise
        self._copied[index] = self._stream.record_event()

    def _await(self, index: int) -> None:
        if (copied := self._copied[index]) is not None:
            torch.cuda.current_stream().wait_event(copied)
            self._copied[index] = None

    def _drop(self, index: int) -> None:
        self._await(index)  # nothing may take the memory while it is still written to
        self._weights[index].offload()


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """Return a new CUDA stream of ``device``."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # untyped in torch
