"""A cache for what the images that a video starts from are encoded to."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.embedding_cache import EmbeddingCache, Embeddings


@contextmanager
def cached_conditions(
    pipeline: Any, cache: EmbeddingCache, shot: Shot, context: GenerationContext
) -> Generator[None]:
    """Make ``pipeline``, an image-to-video one, look in ``cache`` before it encodes an image."""
    vae, encode_image = pipeline.vae, pipeline.encode_image
    encode = vae.encode
    images = _digest(context.image), _digest(context.last_image)
    size = shot.width, shot.height, shot.num_frames

    def encode_once(video: torch.Tensor) -> SimpleNamespace:
        def encode_video() -> Embeddings:
            latents: torch.Tensor = encode(video).latent_dist.mode()
            return (latents,)

        (latents,) = cache.get(("latents", images, size), encode_video)
        return SimpleNamespace(latents=latents.to(video.device))

    def encode_image_once(image: Any, device: torch.device) -> torch.Tensor:
        (embedding,) = cache.get(("image", images, size), lambda: (encode_image(image, device),))
        return embedding.to(device)

    vae.encode, pipeline.encode_image = encode_once, encode_image_once
    try:
        yield
    finally:
        del vae.encode, pipeline.encode_image


def _digest(image: Path | None) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest() if image else ""
