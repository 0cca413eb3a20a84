"""Decoding of LTX-2's latents in tiles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTX2Video

from framegate.plugins.diffusers.loading.vae import set_decode_dtype
from framegate.plugins.ltx2.decoding import decode_tiled, decode_whole

pytestmark = pytest.mark.usefixtures("one_thread")


def test_tiles_are_those_of_diffusers(models: Path) -> None:
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(models / "ltx2" / "vae")
    vae.enable_tiling(128, 128, tile_sample_stride_height=96, tile_sample_stride_width=96)
    latents = torch.randn((1, 4, 6, 6, 8), generator=torch.Generator().manual_seed(0))
    frames = list(decode_tiled(vae, latents))
    vae.enable_tiling()
    vae.use_framewise_decoding = True
    with torch.no_grad():
        pixels = vae.decode(latents).sample[0]
    wanted = ((pixels.clamp(-1, 1) / 2 + 0.5) * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    assert np.array_equal(np.stack(frames), wanted)


@pytest.mark.parametrize("side", [7, 13])
def test_no_tile_is_too_narrow_to_be_decoded(models: Path, side: int) -> None:
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(models / "ltx2" / "vae")
    vae.enable_tiling(256, 256, tile_sample_stride_height=192, tile_sample_stride_width=192)
    for shape in ((1, 4, 2, 5, side), (1, 4, 2, side, 5)):
        frames = list(decode_tiled(vae, torch.zeros(shape)))
        assert [frame.shape for frame in frames] == [(shape[3] * 32, shape[4] * 32, 3)] * 9


def test_the_decoder_has_a_dtype_of_its_own(models: Path) -> None:
    vae: Any = AutoencoderKLLTX2Video.from_pretrained(models / "ltx2" / "vae")
    latents = torch.randn((1, 4, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    ways = {"whole": decode_whole, "tiled": decode_tiled}
    plain = {name: np.stack(list(decode(vae, latents))) for name, decode in ways.items()}
    vae.to(torch.bfloat16)
    set_decode_dtype(vae, torch.float32)
    with torch.no_grad():
        for part in vae.decoder.parameters():
            assert part.dtype == torch.float32
        assert (
            vae.encode(torch.zeros(1, 3, 1, 64, 64, dtype=torch.bfloat16)).latent_dist.mean.dtype == vae.dtype
        )
    for name, decode in ways.items():
        frames = np.stack(list(decode(vae, latents)))
        assert np.abs(frames.astype(int) - plain[name]).max() < 16, name
