"""Weights whose master copy stays in host memory."""

from collections.abc import Collection, Iterator
from contextlib import nullcontext
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torch.utils import _python_dispatch

from framegate.plugins.diffusers.loading.host_memory import PinnedMemory

_subclasses: Any = _python_dispatch  # its functions have no types
_Slots: TypeAlias = dict[str, Any]
"""A module's parameters or buffers by name."""


class HostedWeights:
    """The weights of ``module`` but for its parts ``without``: a master copy, and at times one on ``device``.

    `onload` copies the master to the device and puts the copies in its place, `offload` puts the master back
    and drops them. They aren't copied back, as running a model doesn't change its weights. Whatever else
    changes their values there is lost; a change of dtype is kept, and an adapter that was added is copied.
    """

    def __init__(self, module: nn.Module, device: torch.device, without: Collection[nn.Module] = ()) -> None:
        self.module = module
        self.without = without
        self._device = device
        self._masters: list[tuple[_Slots, str, torch.Tensor]] = []
        self.onloaded = False

    def pin(self, memory: PinnedMemory) -> None:
        """Move the master copy into page-locked memory, as far as there is any."""
        for tensor in {id(tensor): tensor for _, _, tensor in self._tensors()}.values():
            memory.pin(tensor)

    def bring_home(self) -> None:
        """Move weights that were on the device from the start to the host; the copies are their masters."""
        copies: dict[int, torch.Tensor] = {}
        for slots, name, tensor in list(self._tensors()):
            if tensor.device == self._device:
                if id(tensor) not in copies:
                    copies[id(tensor)] = _copy(tensor, torch.device("cpu"), None)
                slots[name] = copies[id(tensor)]

    def onload(self, stream: "torch.cuda.Stream | None" = None) -> None:
        """Put copies on the device in the master's place, copied on ``stream``.

        With a ``stream``, the caller makes it wait for the current one before, and the current one for it
        after.
        """
        if self.onloaded:
            return
        self.onloaded = True
        copies: dict[int, torch.Tensor] = {}
        try:
            for slots, name, master in self._tensors():
                if id(master) not in copies:  # tied weights are one tensor in several places
                    copies[id(master)] = _copy(master, self._device, stream)
                self._masters.append((slots, name, master))
                slots[name] = copies[id(master)]
        except BaseException:
            self.offload()
            raise

    def offload(self) -> None:
        """Put the master back in the copies' place."""
        if not self.onloaded:
            return
        for slots, name, master in self._masters:
            copy = slots.get(name)
            if copy is not None and copy.dtype != master.dtype:
                master.data = master.data.to(copy.dtype)
            slots[name] = master
        masters = {id(master) for _, _, master in self._masters}
        for slots, name, tensor in self._tensors():
            if id(tensor) not in masters and tensor.device == self._device:
                slots[name] = _copy(tensor, torch.device("cpu"), None)
        self._masters.clear()
        self.onloaded = False

    def _tensors(self) -> Iterator[tuple[_Slots, str, torch.Tensor]]:
        """Yield the parameters and buffers, each with the dictionary and the name that it is found by."""
        # Walked each time: adapters add modules.
        modules = cast("Any", self.module).named_modules(memo=set(self.without))  # partly untyped in torch
        for _, module in modules:
            slots: _Slots
            for slots in (module._parameters, module._buffers):
                yield from ((slots, name, tensor) for name, tensor in slots.items() if tensor is not None)


def _copy(tensor: torch.Tensor, device: torch.device, stream: "torch.cuda.Stream | None") -> torch.Tensor:
    """Return a copy of ``tensor`` on ``device``, a parameter if it is one."""
    copy: torch.Tensor
    if _subclasses.is_traceable_wrapper_subclass(tensor):  # a quantised one, made of others

        def copy_part(name: str, part: torch.Tensor) -> torch.Tensor:
            return _copy(part, device, stream)

        copy = _subclasses.transform_subclass(tensor, copy_part)
    else:
        # Allocated on the current stream, which so may take the memory back as soon as it is freed.
        copy = torch.empty_like(tensor.detach(), device=device)
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            copy.copy_(tensor.detach(), non_blocking=device.type != "cpu")
    if isinstance(tensor, nn.Parameter) and not isinstance(copy, nn.Parameter):
        return nn.Parameter(copy, requires_grad=tensor.requires_grad)
    return copy
