"""Decode Wan's latents, frame by frame as they are made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.autoencoders import autoencoder_kl_wan

from framegate.plugins.diffusers.loading.vae import latents_dtype
from framegate.plugins.diffusers.pixels import to_uint8

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_wan: Any = autoencoder_kl_wan  # its functions have no types


@torch.no_grad()
def denormalize(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return ``latents`` as the decoder takes them; the pipelines' own arithmetic to the bit."""
    latents = latents.to(latents_dtype(vae))
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents.device, latents.dtype)
    scale = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents.device, latents.dtype)
    return latents / scale + mean


def decode_streamed(vae: Any, latents: torch.Tensor) -> "Iterator[Frame]":
    """Yield the frames of ``latents`` (1 × channels × time × height × width), equal to ``vae.decode``'s.

    One comes for the first latent frame, then four at a time. CUDA decodes the next four meanwhile.
    """
    pending: _Chunk | None = None
    for pixels in decode_chunks(vae, latents):
        chunk = _Chunk(pixels)
        if pending is not None:
            yield from pending.frames()
        pending = chunk
    if pending is not None:
        yield from pending.frames()


@torch.no_grad()
def decode_tiled(vae: Any, latents: torch.Tensor) -> "Iterator[Frame]":
    """Yield the frames decoded in overlapping tiles: less memory, but none before all are decoded."""
    vae.enable_tiling()
    try:
        pixels = vae.decode(latents, return_dict=False)[0]
    finally:
        vae.use_tiling = False
    for start in range(0, pixels.shape[2], 4):
        yield from _Chunk(pixels[:, :, start : start + 4]).frames()


def decode_chunks(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Decode as `AutoencoderKLWan._decode` does, without keeping the chunks."""
    vae.clear_cache()
    try:
        with torch.no_grad():
            hidden = vae.post_quant_conv(latents)
        for index in range(hidden.shape[2]):
            # Not around the yield, where it would switch off the caller's gradients, too.
            with torch.no_grad():
                vae._conv_idx = [0]
                pixels = vae.decoder(
                    hidden[:, :, index : index + 1],
                    feat_cache=vae._feat_map,
                    feat_idx=vae._conv_idx,
                    first_chunk=index == 0,
                )
                if vae.config.patch_size is not None:
                    pixels = _wan.unpatchify(pixels, patch_size=vae.config.patch_size)
            yield pixels
    finally:
        vae.clear_cache()


class _Chunk:
    """Some frames on their way to the host."""

    def __init__(self, pixels: torch.Tensor) -> None:
        frames = to_uint8(pixels)
        self._copied: torch.cuda.Event | None = None
        if frames.is_cuda:
            self._host = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
            self._host.copy_(frames, non_blocking=True)
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call] # untyped in torch
            self._copied.record()
        else:
            self._host = frames.cpu()

    def frames(self) -> "Iterator[Frame]":
        if self._copied is not None:
            self._copied.synchronize()
        yield from self._host.numpy()
