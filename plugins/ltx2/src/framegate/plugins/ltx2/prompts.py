"""Prompts as the transformer takes them: encoded, and through the text connectors."""

from typing import Any

import torch

from framegate.plugins.diffusers.embedding_cache import Embeddings


@torch.no_grad()
def encode_prompt(pipeline: Any, text: str) -> Embeddings:
    """Return the connectors' embeddings of ``text`` for video and audio, each 1 × tokens × width.

    The connectors take the states of all layers of the text encoder, some 385 MB; their output is a fiftieth
    of it.
    """
    embeddings, mask, _, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
    video, audio, _ = pipeline.connectors(embeddings, mask, padding_side=pipeline.tokenizer.padding_side)
    return video, audio


class PrecomputedEmbeddings(torch.nn.Module):
    """Take the place of a pipeline's connectors, and return what the real ones returned.

    A pipeline gets the embeddings for video and audio side by side, and asks for ``device`` and ``dtype``.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.device = device
        self.dtype = dtype
        self.width = 0

    def join(self, video: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        """Return the ``prompt_embeds`` for a pipeline."""
        self.width = video.shape[-1]
        return torch.cat([video, audio], dim=-1)

    def forward(
        self, embeddings: torch.Tensor, mask: torch.Tensor, padding_side: str = "left"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Split what `join` joined."""
        return embeddings[..., : self.width], embeddings[..., self.width :], mask


def drop_masks(transformer: torch.nn.Module) -> None:
    """Call ``transformer`` without text masks, which the fast attention kernels refuse.

    The connectors fill every place that has no word, so the masks are all ones.
    """
    transformer.register_forward_pre_hook(_without_masks, with_kwargs=True)


def _without_masks(
    module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments, {**named, "encoder_attention_mask": None, "audio_encoder_attention_mask": None}
