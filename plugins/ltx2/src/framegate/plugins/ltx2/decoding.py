"""Decode latents to frames and audio."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from framegate.core.backend import Audio
from framegate.plugins.diffusers.loading.vae import decode_dtype
from framegate.plugins.diffusers.pixels import to_uint8

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_AT_ONCE = 8
"""Frames that are copied to the host together."""


@torch.no_grad()
def decode_whole(vae: Any, latents: torch.Tensor) -> "Iterator[Frame]":
    """Yield the frames of ``latents`` (1 × channels × time × height × width), decoded in one piece.

    The decoder also looks ahead, so no part is exact without the rest.
    """
    pixels = vae.decode(latents.to(decode_dtype(vae)), None, return_dict=False)[0]
    return _frames(pixels)


def decode_tiled(vae: Any, latents: torch.Tensor) -> "Iterator[Frame]":
    """Yield the frames decoded in overlapping tiles of space and time, each part as soon as it is done.

    They equal those of diffusers' tiled decoding.
    """
    count = (latents.shape[2] - 1) * vae.temporal_compression_ratio + 1
    for pixels in _temporal_tiles(vae, latents.to(decode_dtype(vae))):
        for frame in _frames(pixels[:, :, :count]):
            yield frame
            count -= 1


@torch.no_grad()
def decode_audio(audio_vae: Any, vocoder: Any, latents: torch.Tensor) -> Audio:
    """Return the audio of ``latents``, which is some hundredths of a second shorter than the video."""
    spectrogram = audio_vae.decode(latents.to(audio_vae.dtype), return_dict=False)[0]
    samples = vocoder(spectrogram)[0].float().cpu().numpy()
    return Audio(np.ascontiguousarray(samples), int(vocoder.config.output_sampling_rate))


def _temporal_tiles(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    ratio = vae.temporal_compression_ratio
    length, stride = vae.tile_sample_min_num_frames, vae.tile_sample_stride_num_frames
    before: torch.Tensor | None = None
    for start in range(0, latents.shape[2], stride // ratio):
        with torch.no_grad():  # not around the yield, where it would reach the caller
            tile = _decode_spatial_tiles(vae, latents[:, :, start : start + length // ratio + 1])
            if before is None:
                part = tile[:, :, : stride + 1]
            else:
                tile = vae.blend_t(before, tile[:, :, :-1], length - stride)
                part = tile[:, :, :stride]
        before = tile
        yield part


def _decode_spatial_tiles(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    usual = vae.tile_sample_stride_height, vae.tile_sample_stride_width
    height, width = (
        _stride(stride, side, vae.spatial_compression_ratio)
        for stride, side in zip(usual, latents.shape[3:], strict=True)
    )
    vae.enable_tiling(tile_sample_stride_height=height, tile_sample_stride_width=width)
    try:
        pixels: torch.Tensor = vae.decode(latents, None, return_dict=False)[0]
    finally:
        vae.disable_tiling()
        vae.tile_sample_stride_height, vae.tile_sample_stride_width = usual
    return pixels


def _stride(usual: int, side: int, ratio: int) -> int:
    """Return the pixels between two tiles along a side of ``side`` latents.

    The last tile can't be a single latent wide: the decoder mirrors what is beside an edge.
    """
    return usual - ratio if side % (usual // ratio) == 1 else usual


def _frames(pixels: torch.Tensor) -> "Iterator[Frame]":
    """Yield the frames of ``pixels`` (1 × 3 × time × height × width in -1…1)."""
    for start in range(0, pixels.shape[2], _AT_ONCE):
        yield from to_uint8(pixels[:, :, start : start + _AT_ONCE]).cpu().numpy()
