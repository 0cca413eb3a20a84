"""What the VAE's decoder computes in, and how its weights lie in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import nn

from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.loading.probes import Decisions
from framegate.plugins.diffusers.loading.vae import (
    Layout,
    choose_layout,
    faster_layout,
    probe_shape,
    set_decode_dtype,
    set_layout,
    time_layouts,
)
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.model_folder import DECODER, dtype_names
from framegate.plugins.diffusers.wan.decoding import decode_streamed, decode_tiled, denormalize
from tests.support.tiny_models import IMAGE_SHOT, AnyWanBackend, LoadTiny, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")

ROUNDING = 1
"""Levels of 255 by which frames may differ where convolutions add up in another order."""
SHAPES = {
    "wan21_t2v": (1, 16, 3, 48, 80),
    "wan22_ti2v": (1, 48, 3, 24, 40),
    "ltx2": (1, 4, 3, 12, 20),
    "qwen_image": (1, 16, 1, 128, 128),
    "sdxl": (1, 4, 128, 128),
}
"""The latents that are decoded to compare layouts: 640×384 of a video, or an image of 1024×1024."""


@pytest.fixture(scope="module", params=SHAPES)
def pipeline(request: pytest.FixtureRequest) -> Any:
    pipeline = testing.build(str(request.param))
    assert probe_shape(pipeline) == SHAPES[request.param]
    return pipeline


def layout_of(vae: Any) -> set[Layout]:
    """The layouts of the decoder's convolutions, but for those that are in both."""
    layouts: set[Layout] = set()
    for module in vae.decoder.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.weight.shape[1] > 1 < module.kernel_size[-1]:
            layouts.add("contiguous" if module.weight.is_contiguous() else "channels_last")
    return layouts


def stopwatch(**times: float) -> Callable[[Callable[[], object]], float]:
    """A stopwatch that runs what it is given, and returns ``times`` in their order."""
    left = iter(times.values())

    def seconds(run: Callable[[], object]) -> float:
        run()
        return next(left)

    return seconds


def test_the_faster_layout_is_taken_and_changes_no_frame(pipeline: Any) -> None:
    vae = pipeline.vae
    latents = torch.randn((*probe_shape(pipeline)[:-2], 4, 4), generator=torch.Generator().manual_seed(3))
    encoder = [weight.stride() for weight in vae.encoder.parameters()]

    def decode() -> Any:
        with torch.no_grad():
            return vae.decode(latents, return_dict=False)[0]

    before = decode()
    times = time_layouts(vae, decode, stopwatch(contiguous=1.0, channels_last=0.8))
    assert times == {"contiguous": 1.0, "channels_last": 0.8}
    assert faster_layout(times) == "channels_last"
    set_layout(vae, "channels_last")
    assert layout_of(vae) == {"channels_last"}
    levels = [(pixels.clamp(-1, 1) / 2 + 0.5) * 255 for pixels in (before, decode())]
    assert (levels[0].round() - levels[1].round()).abs().max() <= ROUNDING
    set_layout(vae, "contiguous")
    assert layout_of(vae) == {"contiguous"}
    assert torch.equal(decode(), before)
    assert [weight.stride() for weight in vae.encoder.parameters()] == encoder


@pytest.mark.parametrize(
    ("times", "layout"),
    [
        ({"contiguous": 1.0, "channels_last": 0.9}, "channels_last"),
        ({"contiguous": 1.0, "channels_last": 0.98}, "contiguous"),
        ({"contiguous": 1.0, "channels_last": 1.7}, "contiguous"),
        ({"contiguous": 1.0}, "contiguous"),
        ({"channels_last": 1.0}, "contiguous"),
        ({}, "contiguous"),
    ],
)
def test_the_layout_is_contiguous_unless_the_other_one_is_clearly_faster(
    times: dict[Layout, float], layout: Layout
) -> None:
    assert faster_layout(times) == layout


def test_the_layout_is_measured_once_for_a_card(tmp_path: Path) -> None:
    pipeline, decisions, cpu = testing.build("wan21_t2v"), Decisions(tmp_path / "new"), torch.device("cpu")

    def choose(card: str, **times: float) -> Layout:
        left = iter(times.values())
        return choose_layout(pipeline, cpu, decisions, card, lambda _: next(left))

    assert choose("H200", contiguous=1.0, channels_last=0.5) == "channels_last"
    assert layout_of(pipeline.vae) == {"channels_last"}
    assert choose("L40S", contiguous=1.0, channels_last=1.5) == "contiguous"
    assert layout_of(pipeline.vae) == {"contiguous"}
    with capture_logs() as logs:
        assert choose("H200") == "channels_last"
    assert layout_of(pipeline.vae) == {"channels_last"}
    assert logs[0]["why"] == "measured at an earlier start"


def test_without_memory_to_measure_the_layout_stays_and_is_not_remembered(tmp_path: Path) -> None:
    pipeline, decisions, cpu = testing.build("wan21_t2v"), Decisions(tmp_path), torch.device("cpu")

    def seconds(run: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert choose_layout(pipeline, cpu, decisions, "H200", seconds) == "contiguous"
    assert layout_of(pipeline.vae) == {"contiguous"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("cuDNN")])
def test_a_layout_in_which_decoding_fails_is_out(error: Exception) -> None:
    vae = testing.build("wan21_t2v").vae
    vae._feat_map = [torch.ones(1)]

    def decode() -> None:
        if layout_of(vae) == {"channels_last"}:
            vae._feat_map = [torch.ones(1)]
            raise error

    assert time_layouts(vae, decode, stopwatch(contiguous=1.0)) == {"contiguous": 1.0}
    assert not any(isinstance(kept, torch.Tensor) for kept in vae._feat_map), "nothing is left in memory"


def test_the_decoder_alone_has_another_dtype() -> None:
    wan = {"vae": "float32", "image_encoder": "float32"}
    assert dtype_names(Options(), wan, on_cuda=True)[DECODER] == "float32"
    assert dtype_names(Options(), {}, on_cuda=True)[DECODER] == "bfloat16"
    assert dtype_names(Options(vae_dtype="float16"), wan, on_cuda=True)[DECODER] == "float16"
    apart = dtype_names(Options(vae_decode_dtype="bfloat16"), wan, on_cuda=True)
    assert (apart["vae"], apart[DECODER]) == ("float32", "bfloat16")


def test_wan_decodes_in_a_dtype_of_its_own(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=1, guidance_scale=1.0)
    plain = generate(load_wan("wan22_ti2v"), shot, RecordingContext(tmp_path))
    backend = load_wan("wan22_ti2v", vae_decode_dtype="bfloat16")
    vae = backend.loaded_engine.pipeline.vae
    assert {weight.dtype for weight in vae.encoder.parameters()} == {torch.float32}
    assert {weight.dtype for weight in vae.quant_conv.parameters()} == {torch.float32}
    assert {weight.dtype for weight in vae.decoder.parameters()} == {torch.bfloat16}
    half = generate(backend, shot, RecordingContext(tmp_path))
    assert half.shape == plain.shape
    assert 0 < np.abs(half.astype(int) - plain).max() < 16, "it is not exact, and not far away"
    latents = torch.randn((1, 48, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    ready = denormalize(vae, latents)
    assert ready.dtype == torch.float32, "latents are cast after they were denormalised"
    assert len(list(decode_streamed(vae, ready))) == len(list(decode_tiled(vae, ready))) == 5


def test_images_are_decoded_in_a_dtype_of_their_own(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path
) -> None:
    for name in ("sdxl", "qwen_image"):
        backend = load_images(name, vae_decode_dtype="bfloat16")
        frames = generate(backend, IMAGE_SHOT, RecordingContext(tmp_path, num_partial_images=1))
        plain = generate(load_images(name), IMAGE_SHOT, RecordingContext(tmp_path))
        assert 0 < np.abs(frames.astype(int) - plain).max() < 16, name


def test_a_pipeline_that_converts_its_vae_still_decodes_in_the_dtype() -> None:
    vae = testing.build("sdxl").vae
    set_decode_dtype(vae, torch.bfloat16)
    for dtype in (torch.float32, torch.float16):
        vae.to(dtype)
        with torch.no_grad():
            pixels = vae.decode(torch.zeros((1, 4, 8, 8), dtype=dtype), return_dict=False)[0]
        assert pixels.dtype == torch.bfloat16
        assert vae.dtype == dtype
