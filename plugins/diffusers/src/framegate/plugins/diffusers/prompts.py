"""Prompt embeddings, kept so that a prompt is encoded once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

import torch

Embeddings: TypeAlias = tuple[torch.Tensor, ...]


class EmbeddingCache:
    """The least recently used embeddings go when ``max_bytes`` are exceeded, those that are to be kept last.

    They lie in host memory, ``pinned`` so that a CUDA device gets them in milliseconds.
    """

    def __init__(self, max_bytes: int, *, pinned: bool = False) -> None:
        self.max_bytes = max_bytes
        self._pinned = pinned
        self._ordinary: OrderedDict[Hashable, Embeddings] = OrderedDict()
        self._kept: OrderedDict[Hashable, Embeddings] = OrderedDict()
        self.num_bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, make: Callable[[], Embeddings], *, keep: bool = False) -> Embeddings:
        """What ``make`` gives, or gave before, in host memory. ``keep`` is for negative prompts, which come
        with every job."""
        shelf = self._kept if keep else self._ordinary
        found = shelf.get(key)
        if found is not None:
            shelf.move_to_end(key)
            self.hits += 1
            return found
        self.misses += 1
        made = tuple(self._to_host(tensor) for tensor in make())
        size = _size(made)
        if size <= self.max_bytes:
            shelf[key] = made
            self.num_bytes += size
            self._make_room(key)
        return made

    def clear(self) -> None:
        self._ordinary.clear()
        self._kept.clear()
        self.num_bytes = 0

    def _to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        host = tensor.detach().to("cpu").contiguous()
        return host.pin_memory() if self._pinned else host

    def _make_room(self, newest: Hashable) -> None:
        while self.num_bytes > self.max_bytes:
            oldest = next((key for key in self._ordinary if key != newest), None)
            shelf = self._kept if oldest is None else self._ordinary
            oldest = next(key for key in self._kept if key != newest) if oldest is None else oldest
            self.num_bytes -= _size(shelf.pop(oldest))


def _size(embeddings: Embeddings) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in embeddings)
