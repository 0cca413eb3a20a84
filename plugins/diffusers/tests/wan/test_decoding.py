"""Decoding of Wan's latents."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from msgspec.structs import replace

from framegate.core.errors import OutOfMemory
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers.tiling import Tiling
from framegate.plugins.diffusers.wan.decoding import decode_streamed, denormalize
from tests.support.tiny_models import AnyWanBackend, Calls, LoadTiny, TinyModel, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_ti2v"])
def test_decoding_in_a_stream_changes_no_bit(tiny_model: TinyModel, name: str) -> None:
    vae: Any = AutoencoderKLWan.from_pretrained(str(tiny_model(name)), subfolder="vae")
    scale = vae.config.scale_factor_spatial
    latents = torch.randn(
        (1, vae.config.z_dim, 4, 64 // scale, 96 // scale), generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        ready = denormalize(vae, latents)
        whole = vae.decode(ready, return_dict=False)[0]
    expected = (whole[0] / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    frames = list(decode_streamed(vae, ready))
    assert len(frames) == 13
    assert np.array_equal(np.stack(frames), expected)
    for stopped_after in (1, 5):
        stream = decode_streamed(vae, ready)
        for _ in range(stopped_after):
            next(stream)
        del stream
    assert np.array_equal(np.stack(list(decode_streamed(vae, ready))), expected), (
        "a stream that was left is forgotten"
    )


def test_decoding_goes_on_in_tiles_where_memory_runs_out(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    shot = small_shot(
        Task.TEXT_TO_VIDEO, width=320, height=64, num_frames=13, num_inference_steps=1, guidance_scale=1.0
    )
    small = replace(shot, width=64, num_frames=5)
    backend, context = load_wan("wan21_t2v"), RecordingContext(tmp_path)
    engine = backend.loaded_engine
    whole, small_whole = (generate(backend, each, context) for each in (shot, small))
    engine.tiling = Tiling("on", engine.device)
    always = generate(backend, shot, context)
    assert (always != whole).any(), "tiles are not exact"
    full = torch.OutOfMemoryError("CUDA out of memory")
    # The chunk in which it runs out, and how many frames were given by then: a chunk is given when the next
    # has been decoded.
    for chunk, given in ((1, 0), (2, 0), (3, 1), (4, 5)):
        engine.tiling = Tiling("auto", engine.device)
        with Calls(engine.pipeline.vae.decoder, full, fail_at=chunk):
            frames = generate(backend, shot, context)
        assert np.array_equal(frames, np.concatenate([whole[:given], always[given:]])), chunk
    assert np.array_equal(generate(backend, shot, context), always), "a job as large tiles at once"
    assert np.array_equal(generate(backend, small, context), small_whole)


def test_decoding_that_fits_in_no_way_fails_the_job(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    backend = load_wan("wan21_t2v", vae_tiling="off")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(backend, shot, RecordingContext(tmp_path))
    for fail_at in (1, 3):
        with (
            Calls(backend.loaded_engine.pipeline.vae.decoder, torch.OutOfMemoryError("no"), fail_at=fail_at),
            pytest.raises(OutOfMemory, match="while decoding 96×64 with 9 frames"),
        ):
            generate(backend, shot, RecordingContext(tmp_path))
    assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path)), expected)
