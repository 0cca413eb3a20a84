"""Move weights to the device for the phase of the work that needs them."""

from collections.abc import Mapping
from typing import Any, Protocol

import structlog
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from framegate.plugins.diffusers.cancellation import blocks_of
from framegate.plugins.diffusers.loading.block_streaming import StreamedBlocks
from framegate.plugins.diffusers.loading.host_memory import PinnedMemory
from framegate.plugins.diffusers.loading.hosted_weights import HostedWeights
from framegate.plugins.diffusers.memory import release
from framegate.plugins.diffusers.planning.placement import DECODING, ENCODING, Placement, phase_of

log = structlog.get_logger(__name__)


class Movable(Protocol):
    """Weights that can be on the device or not."""

    def pin(self, memory: PinnedMemory) -> None:
        """Move what is kept on the host into page-locked memory, as far as there is any."""

    def onload(self) -> None:
        """Bring them to the device, if they are not there."""

    def offload(self) -> None:
        """Take them off the device."""


class Offloader:
    """Keep weights on the device during one phase of the work, and off it during the others.

    A phase begins when one of its modules runs. Between jobs, nothing that can be moved is on the device.
    The hooks are the modules' own, so every pipeline over the same modules is served.
    """

    def __init__(self, placement: Placement, device: torch.device) -> None:
        self.placement = placement
        """Where the weights are kept."""
        self._device = device
        self._memory = PinnedMemory()
        self._phase = ""
        self._modules: dict[str, nn.Module] = {}
        self._movable: dict[str, list[Movable]] = {}
        self._hooks: dict[nn.Module, RemovableHandle] = {}

    def take(self, modules: Mapping[str, nn.Module]) -> None:
        """Put ``modules``, components by name, where the placement says, and move them from then on."""
        self._modules |= modules
        # The transformers come first, as there may not be page-locked memory for all.
        for name in sorted(modules, key=lambda name: phase_of(name) in (ENCODING, DECODING)):
            self._take(modules[name], phase_of(name))
        self.pin()

    def change(self, placement: Placement) -> None:
        """Place everything again so that less is on the device; no job may be running."""
        self.offload()
        for module, handle in self._hooks.items():
            handle.remove()
            del module._hf_hook
        self._hooks.clear()
        self._movable.clear()
        self.placement = placement
        for name, module in self._modules.items():
            if placement.offload != "text-encoder" or phase_of(name) == ENCODING:
                HostedWeights(module, self._device).bring_home()
        self.take(self._modules)
        release(self._device)

    def _take(self, module: nn.Module, phase: str) -> None:
        offload = self.placement.offload
        if offload == "none":
            module.to(self._device)
            return
        if offload == "text-encoder" and phase != ENCODING:
            self._manage(module.to(self._device), phase)
            return
        blocks = blocks_of(module) if offload == "group" and phase != DECODING else []
        movable: list[Movable] = [HostedWeights(module, self._device, without=blocks)]
        if blocks:
            movable.append(StreamedBlocks(blocks, self._device))
        self._manage(module, phase, *movable)

    def _manage(self, module: Any, phase: str, *movable: Movable) -> None:
        """Let ``module``, which runs in ``phase``, bring ``movable`` to the device and end other phases."""
        self._movable.setdefault(phase, []).extend(movable)
        hook = _PhaseHook(self, self._device, phase, movable)
        module._hf_hook = hook
        self._hooks[module] = module.register_forward_pre_hook(hook.pre_forward)

    def pin(self) -> None:
        """Move what is kept on the host into page-locked memory, as far as there is any.

        It is called again when something was added, such as an adapter.
        """
        for movable in self._movable.values():
            for weights in movable:
                weights.pin(self._memory)
        if self._movable:
            log.info("weights_hosted", pinned=self._memory.pinned, pageable=self._memory.pageable)

    def enter(self, phase: str) -> None:
        """Take everything off the device that another phase than ``phase`` needs."""
        if phase == self._phase:
            return
        self._phase = phase
        for other, movable in self._movable.items():
            if other != phase:
                for weights in movable:
                    weights.offload()
        if self._movable and self._device.type == "cuda":
            torch.cuda.empty_cache()  # the next weights are of other sizes than these

    def offload(self) -> None:
        """Take everything off the device that can be moved."""
        self.enter("")


class _PhaseHook:
    """What diffusers looks for as ``_hf_hook``, and calls before methods other than ``forward``."""

    def __init__(
        self, offloader: Offloader, device: torch.device, phase: str, movable: tuple[Movable, ...]
    ) -> None:
        self.execution_device = device  # where pipelines put their inputs
        self._offloader = offloader
        self._phase = phase
        self._movable = movable

    def pre_forward(self, *_: object) -> None:
        self._offloader.enter(self._phase)
        for weights in self._movable:
            weights.onload()


def onload(module: nn.Module) -> None:
    """Bring ``module`` to its device, for calling a part of it directly, past its hook."""
    hook: _PhaseHook | None = getattr(module, "_hf_hook", None)
    if hook is not None:
        hook.pre_forward()


def modules_of(pipeline: Any) -> dict[str, nn.Module]:
    """Return the components of ``pipeline`` that have weights."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
