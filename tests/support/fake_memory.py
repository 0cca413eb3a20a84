"""Measure what activations take without computing anything, by the bytes that fake tensors hold."""

import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def measure(build: Callable[[], nn.Module], dtype: torch.dtype, run: Callable[[Any], object]) -> int:
    """Return the most bytes that ``run`` holds at once, beside the weights of the model of ``build``."""
    with FakeTensorMode(), torch.no_grad():
        with default_dtype(dtype):
            model = build().eval()
        _keep_precise(model)
        meter = _Meter(model)
        with meter:
            run(model)
    return meter.peak


@contextmanager
def default_dtype(dtype: torch.dtype) -> Generator[None]:
    """Create tensors in ``dtype`` unless they are asked for in another."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _keep_precise(model: nn.Module) -> None:
    """Cast what ``from_pretrained`` leaves in float32."""
    precise: set[str] = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    for name, parameter in model.named_parameters():
        if precise & set(name.split(".")):
            parameter.data = parameter.data.float()


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call] # untyped in torch
    """Counts the bytes of all storages that operations make while they live; not those of ``model``.

    Workspaces of CUDA's libraries are not among them.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in torch
        self.peak = self._live = 0
        self._seen: weakref.WeakKeyDictionary[torch.UntypedStorage, None] = weakref.WeakKeyDictionary()
        for tensor in (*model.parameters(), *model.buffers()):
            self._seen[tensor.untyped_storage()] = None

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen[storage] = None
        size = storage.nbytes()
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._live -= size
