"""Prompt embeddings of pipelines that each have an ``encode_prompt`` of their own."""

from typing import Any, TypeGuard, cast

import torch

from framegate.plugins.diffusers.prompts import EmbeddingCache, Embeddings

_NOTHING = torch.empty(0)
"""Stands for None in the cache."""


def remember_prompts(pipeline: Any, cache: EmbeddingCache) -> None:
    """Have ``pipeline.encode_prompt`` ask ``cache`` first; nothing changes for calls that hold pictures or
    tensors, nor where the answer holds anything but tensors."""
    if not hasattr(pipeline, "encode_prompt"):
        return
    encode = pipeline.encode_prompt
    name = type(pipeline).__name__

    def remembered(*arguments: Any, **named: Any) -> Any:
        if not all(_is_plain(value) for value in (*arguments, *named.values())):
            return encode(*arguments, **named)

        def make() -> Embeddings:
            return _as_tensors(encode(*arguments, **named))

        try:
            kept = cache.get(repr((name, arguments, named)), make)
        except _OtherAnswer as other:
            return other.answer
        device = pipeline._execution_device
        return tuple(tensor.to(device) if tensor.numel() else None for tensor in kept)

    pipeline.encode_prompt = remembered


class _OtherAnswer(Exception):
    def __init__(self, answer: object) -> None:
        self.answer = answer


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, str) for part in cast("list[object]", value))
    return isinstance(value, str | int | float | torch.device | torch.dtype | None)


def _as_tensors(answer: object) -> Embeddings:
    if not _are_tensors(answer):
        raise _OtherAnswer(answer)
    return tuple(_NOTHING if part is None else part for part in answer)


def _are_tensors(answer: object) -> TypeGuard[tuple[torch.Tensor | None, ...]]:
    return isinstance(answer, tuple) and all(
        isinstance(part, torch.Tensor | None) for part in cast("tuple[object, ...]", answer)
    )
