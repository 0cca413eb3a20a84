"""Prompts as the transformer reads them: encoded, and through the text connectors."""

from typing import Any

import torch

from framegate.plugins.diffusers.prompts import Embeddings


@torch.no_grad()
def connected(pipeline: Any, text: str) -> Embeddings:
    """What the connectors make of ``text`` for the pictures and for the sound, each 1 × tokens × width.

    They take the states of every layer of the text encoder, some 385 MB; what they give is a fiftieth of it.
    """
    embeddings, mask, _, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
    pictures, sound, _ = pipeline.connectors(embeddings, mask, padding_side=pipeline.tokenizer.padding_side)
    return pictures, sound


class Connected(torch.nn.Module):
    """Stands where a pipeline has its connectors, and takes what came out of the real ones: the embeddings
    for pictures and sound side by side. ``device`` and ``dtype`` are theirs; pipelines ask for them."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.device = device
        self.dtype = dtype
        self.width = 0

    def join(self, pictures: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        """What the pipeline takes as ``prompt_embeds``."""
        self.width = pictures.shape[-1]
        return torch.cat([pictures, sound], dim=-1)

    def forward(
        self, embeddings: torch.Tensor, mask: torch.Tensor, padding_side: str = "left"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return embeddings[..., : self.width], embeddings[..., self.width :], mask


def drop_masks(transformer: torch.nn.Module) -> None:
    """Call ``transformer`` without text masks, which the fast attention kernels refuse. The connectors fill
    every place that has no word, so that the masks are all ones."""
    transformer.register_forward_pre_hook(_without_masks, with_kwargs=True)


def _without_masks(
    module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments, {**named, "encoder_attention_mask": None, "audio_encoder_attention_mask": None}
