"""Cache the prompt embeddings of pipelines that each have an ``encode_prompt`` of their own."""

from typing import Any, TypeGuard, cast

import torch

from framegate.plugins.diffusers.embedding_cache import EmbeddingCache, Embeddings

_NOTHING = torch.empty(0)
"""Stands for None in the cache."""


def cache_prompts(pipeline: Any, cache: EmbeddingCache) -> None:
    """Make ``pipeline.encode_prompt`` look in ``cache`` first.

    Calls that pass images or tensors, and results that hold anything but tensors, are not cached.
    """
    if not hasattr(pipeline, "encode_prompt"):
        return
    encode = pipeline.encode_prompt
    name = type(pipeline).__name__

    def encode_once(*arguments: Any, **named: Any) -> Any:
        if not all(_is_plain(value) for value in (*arguments, *named.values())):
            return encode(*arguments, **named)

        def encode_to_tensors() -> Embeddings:
            return _as_tensors(encode(*arguments, **named))

        try:
            cached = cache.get(repr((name, arguments, named)), encode_to_tensors)
        except _Uncacheable as uncacheable:
            return uncacheable.result
        device = pipeline._execution_device
        return tuple(tensor.to(device) if tensor.numel() else None for tensor in cached)

    pipeline.encode_prompt = encode_once


class _Uncacheable(Exception):
    def __init__(self, result: object) -> None:
        self.result = result


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, str) for part in cast("list[object]", value))
    return isinstance(value, str | int | float | torch.device | torch.dtype | None)


def _as_tensors(result: object) -> Embeddings:
    if not _are_tensors(result):
        raise _Uncacheable(result)
    return tuple(_NOTHING if part is None else part for part in result)


def _are_tensors(result: object) -> TypeGuard[tuple[torch.Tensor | None, ...]]:
    return isinstance(result, tuple) and all(
        isinstance(part, torch.Tensor | None) for part in cast("tuple[object, ...]", result)
    )
