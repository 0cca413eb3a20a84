"""A bounded cache of embeddings."""

import pytest
import torch

from framegate.plugins.diffusers.embedding_cache import EmbeddingCache


def tensor(kilobytes: int) -> tuple[torch.Tensor]:
    return (torch.zeros(kilobytes * 1024, dtype=torch.uint8),)


def test_the_cache_stays_within_its_bytes_and_forgets_the_oldest() -> None:
    cache = EmbeddingCache(3 * 1024)
    for key in ("a", "b", "c", "a", "d"):
        cache.get(key, lambda: tensor(1))
    assert cache.num_bytes == 3 * 1024
    assert (cache.hits, cache.misses) == (1, 4)
    cache.get("a", lambda: pytest.fail("a was used last but one"))
    cache.get("b", lambda: tensor(1))
    assert cache.misses == 5, "b was the oldest"


def test_negative_prompts_outlast_any_number_of_prompts() -> None:
    cache = EmbeddingCache(3 * 1024)
    cache.get("bad", lambda: tensor(1), keep=True)
    for number in range(100):
        cache.get(str(number), lambda: tensor(1))
    cache.get("bad", lambda: pytest.fail("it was to be kept"), keep=True)
    for number in range(100):
        cache.get(f"bad {number}", lambda: tensor(1), keep=True)
    assert cache.num_bytes <= 3 * 1024, "they are bounded, too"


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = EmbeddingCache(1024)
    cache.get("small", lambda: tensor(1))
    assert cache.get("large", lambda: tensor(2))[0].numel() == 2048
    assert cache.num_bytes == 1024
    cache.get("small", lambda: pytest.fail("it had to stay"))
