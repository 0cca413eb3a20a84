"""A cache of embeddings, so that a prompt or an image is encoded once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

import torch

Embeddings: TypeAlias = tuple[torch.Tensor, ...]
"""What one text or image was encoded to."""


class EmbeddingCache:
    """Embeddings in host memory, at most ``max_bytes`` of them.

    The least recently used ones are evicted first, those to keep last. ``pinned`` memory is copied to a CUDA
    device in milliseconds.
    """

    def __init__(self, max_bytes: int, *, pinned: bool = False) -> None:
        self.max_bytes = max_bytes
        self._pinned = pinned
        self._ordinary: OrderedDict[Hashable, Embeddings] = OrderedDict()
        self._kept: OrderedDict[Hashable, Embeddings] = OrderedDict()
        self.num_bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable, encode: Callable[[], Embeddings], *, keep: bool = False) -> Embeddings:
        """Return what ``encode`` returns, or returned for ``key`` before, in host memory.

        ``keep`` is for negative prompts, which are the same in most jobs.
        """
        entries = self._kept if keep else self._ordinary
        found = entries.get(key)
        if found is not None:
            entries.move_to_end(key)
            self.hits += 1
            return found
        self.misses += 1
        encoded = tuple(self._to_host(tensor) for tensor in encode())
        size = _size(encoded)
        if size <= self.max_bytes:
            entries[key] = encoded
            self.num_bytes += size
            self._evict(key)
        return encoded

    def clear(self) -> None:
        """Drop all embeddings."""
        self._ordinary.clear()
        self._kept.clear()
        self.num_bytes = 0

    def _to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        host = tensor.detach().to("cpu").contiguous()
        return host.pin_memory() if self._pinned else host

    def _evict(self, newest: Hashable) -> None:
        while self.num_bytes > self.max_bytes:
            oldest = next((key for key in self._ordinary if key != newest), None)
            entries = self._kept if oldest is None else self._ordinary
            oldest = next(key for key in self._kept if key != newest) if oldest is None else oldest
            self.num_bytes -= _size(entries.pop(oldest))


def _size(embeddings: Embeddings) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in embeddings)
