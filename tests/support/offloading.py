"""Offloading without a GPU: a second copy on the CPU stands for the one on a device."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from framegate.plugins.diffusers.backend import DiffusersBackend

if TYPE_CHECKING:
    import torch
    from torch import nn

    from framegate.plugins.diffusers.loading.hosted_weights import HostedWeights
    from framegate.plugins.diffusers.planning.placement import Offload

LoadedT = TypeVar("LoadedT", bound=DiffusersBackend)


class FakeDevice:
    """Loads models with an offload, and records what is copied to the device and taken off it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from framegate.plugins.diffusers.loading import host_memory, pipelines
        from framegate.plugins.diffusers.loading.hosted_weights import HostedWeights
        from framegate.plugins.diffusers.planning.placement import Placement

        self._offload: Offload = "none"
        self.copied: list[nn.Module] = []
        """The modules whose weights were copied to the device, in order."""
        self.holds: set[nn.Module] = set()
        """Those whose weights it holds now."""
        self._hosted: list[HostedWeights] = []
        onload, offload, create = HostedWeights.onload, HostedWeights.offload, HostedWeights.__init__

        def record(weights: HostedWeights, *arguments: Any, **named: Any) -> None:
            create(weights, *arguments, **named)
            self._hosted.append(weights)

        def record_onload(weights: HostedWeights, *stream: Any) -> None:
            if not weights.onloaded:
                self.copied.append(weights.module)
                self.holds.add(weights.module)
            onload(weights, *stream)

        def record_offload(weights: HostedWeights) -> None:
            self.holds.discard(weights.module)
            offload(weights)

        monkeypatch.setattr(HostedWeights, "__init__", record)
        monkeypatch.setattr(HostedWeights, "onload", record_onload)
        monkeypatch.setattr(HostedWeights, "offload", record_offload)

        def plan(*_: object) -> Placement:
            return Placement(self._offload, 0, 0)

        monkeypatch.setattr(pipelines, "plan_placement", plan)
        monkeypatch.setattr(host_memory, "SLAB", 2**20)
        monkeypatch.setattr(host_memory, "available_bytes", lambda: 2**40)
        monkeypatch.setattr(host_memory, "_allocate", _pageable)

    def load(self, offload: "Offload", load: Callable[[], LoadedT]) -> LoadedT:
        """Return what ``load`` loads, placed as ``offload`` says."""
        self._offload = offload
        try:
            backend = load()
            self._watch(backend.loaded_engine.pipeline)
            return backend
        finally:
            self._offload = "none"
            self._hosted.clear()
            self.copied.clear()

    def _watch(self, pipeline: Any) -> None:
        """Fail where a module runs whose weights are not on the device; the real one would."""
        compiled = {
            name
            for part in pipeline.components.values()
            for name in getattr(part, "_repeated_blocks", None) or ()
        }
        for weights in self._hosted:
            others = {part for block in weights.without for part in block.modules()}
            for module in _outside(weights.module, compiled):
                if module not in others and any(True for _ in module.parameters(recurse=False)):
                    module.register_forward_pre_hook(partial(_check_onloaded, weights))


def _outside(module: "nn.Module", compiled: Collection[str]) -> "Iterator[nn.Module]":
    """Yield the modules in ``module`` that are not inside a block that is compiled, which takes no hooks."""
    yield module
    if type(module).__name__ not in compiled:
        for child in module.children():
            yield from _outside(child, compiled)


def _check_onloaded(weights: "HostedWeights", module: "nn.Module", _: object) -> None:
    assert weights.onloaded, f"{type(module).__name__} runs while its weights are off the device"


def _pageable(size: int) -> "torch.Tensor":
    import torch

    return torch.empty(size, dtype=torch.uint8)


def weights_of(backend: DiffusersBackend) -> dict[str, tuple[int, int]]:
    """Return where in memory each weight of a loaded model is, and how often it was written."""
    pipeline: Any = backend.loaded_engine.pipeline
    return {
        f"{component}.{name}": (tensor.data_ptr(), tensor._version)
        for component, module in pipeline.components.items()
        if hasattr(module, "state_dict")
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


@pytest.fixture
def fake_device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A device for models that are loaded with an offload."""
    return FakeDevice(monkeypatch)
