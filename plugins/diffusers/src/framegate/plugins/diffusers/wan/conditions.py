"""What the pictures that a video starts from are encoded to, kept for the next job that starts from them."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.prompts import EmbeddingCache, Embeddings


@contextmanager
def remembered(
    pipeline: Any, cache: EmbeddingCache, shot: Shot, context: GenerationContext
) -> Generator[None]:
    """Meanwhile ``pipeline``, which is an image-to-video one, asks ``cache`` before it encodes a picture."""
    vae, encode_image = pipeline.vae, pipeline.encode_image
    encode = vae.encode
    pictures = _digest(context.image), _digest(context.last_image)
    size = shot.width, shot.height, shot.num_frames

    def encode_once(video: torch.Tensor) -> SimpleNamespace:
        def latents_of_video() -> Embeddings:
            made: torch.Tensor = encode(video).latent_dist.mode()
            return (made,)

        (latents,) = cache.get(("latents", pictures, size), latents_of_video)
        return SimpleNamespace(latents=latents.to(video.device))

    def encode_image_once(image: Any, device: torch.device) -> torch.Tensor:
        (embedding,) = cache.get(("picture", pictures, size), lambda: (encode_image(image, device),))
        return embedding.to(device)

    vae.encode, pipeline.encode_image = encode_once, encode_image_once
    try:
        yield
    finally:
        del vae.encode, pipeline.encode_image


def _digest(picture: Path | None) -> str:
    return hashlib.sha256(picture.read_bytes()).hexdigest() if picture else ""
