"""Partial images."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from framegate.core.errors import JobCancelled
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.images.partial_images import (
    decode_latents,
    estimate_clean,
    supports_partial_images,
)
from tests.support.tiny_models import IMAGE_SHOT, IMAGE_TO_IMAGE_SHOT, LoadTiny, generate

if TYPE_CHECKING:
    from framegate.core.backend import Frame

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "shot", "count"),
    [
        ("sdxl", replace(IMAGE_SHOT, num_inference_steps=8), 3),
        ("sdxl", replace(IMAGE_TO_IMAGE_SHOT, num_inference_steps=8), 2),  # which makes four steps
        ("qwen_image", replace(IMAGE_SHOT, num_inference_steps=8), 3),
        ("flux_kontext", replace(IMAGE_TO_IMAGE_SHOT, num_inference_steps=8, strength=None), 3),
        ("qwen_image", IMAGE_SHOT, 2),
        ("qwen_image", replace(IMAGE_SHOT, num_inference_steps=2), 0),
    ],
    ids=lambda value: value.task if isinstance(value, Shot) else value,
)
def test_partial_images_are_made_where_they_are_wanted(
    load_images: LoadTiny[ImagesBackend],
    tmp_path: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    shot: Shot,
    count: int,
) -> None:
    backend = load_images(name)
    vae, decoded = backend.loaded_engine.pipeline.vae, list[None]()
    decode = vae.decode

    def counted(*arguments: Any, **named: Any) -> Any:
        decoded.append(None)
        return decode(*arguments, **named)

    monkeypatch.setattr(vae, "decode", counted)
    unwatched = generate(backend, shot, RecordingContext(tmp_path, image=image, num_partial_images=0))
    assert len(decoded) == 1
    context = RecordingContext(tmp_path, image=image)
    assert np.array_equal(generate(backend, shot, context), unwatched)
    assert len(decoded) == 2 + count
    assert len(context.partial_images) == count
    images = [*context.partial_images, unwatched[0]]
    for each in images:
        assert (each.shape, each.dtype) == ((shot.height, shot.width, 3), np.uint8)
    # Each is nearer to the final image than the one before.
    left = [np.abs(each.astype(float) - unwatched[0]).mean() for each in images]
    assert left == sorted(set(left), reverse=True)


def test_partial_images_are_of_the_first_of_several_images(backend: ImagesBackend, tmp_path: Path) -> None:
    context, several = RecordingContext(tmp_path), RecordingContext(tmp_path)
    generate(backend, IMAGE_SHOT, context)
    generate(backend, replace(IMAGE_SHOT, num_frames=2), several)
    assert np.array_equal(several.partial_images, context.partial_images)


def test_a_job_that_is_cancelled_while_a_partial_image_is_decoded_stops(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path
) -> None:
    backend = load_images("sdxl")

    class Cancelled(RecordingContext):
        partial_image_due = False

        def report_partial_image(self, render: "Callable[[], Frame]") -> None:
            self.partial_image_due = True
            super().report_partial_image(render)

        def check_cancelled(self) -> None:
            if self.partial_image_due:
                raise JobCancelled

    context = Cancelled(tmp_path)
    with pytest.raises(JobCancelled):
        generate(backend, IMAGE_SHOT, context)
    assert not context.partial_images


@pytest.mark.parametrize("name", ["sdxl", "qwen_image", "flux_kontext"])
def test_partial_images_are_decoded_as_the_image_is(
    load_images: LoadTiny[ImagesBackend], image: Path, name: str
) -> None:
    pipeline = load_images(name).loaded_engine.pipeline
    last: list[torch.Tensor] = []

    def keep(pipeline: Any, index: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
        last[:] = [tensors["latents"]]
        return {}

    with Image.open(image) as opened:
        given = (
            {"image": opened, "_auto_resize": False, "max_area": 96 * 64} if name == "flux_kontext" else {}
        )
        plain = pipeline(
            prompt=IMAGE_SHOT.prompt,
            width=96,
            height=64,
            num_inference_steps=2,
            output_type="np",
            callback_on_step_end=keep,
            **given,
        ).images[0]
    assert supports_partial_images(pipeline)
    with torch.no_grad():
        assert np.array_equal(decode_latents(pipeline, last[0], 96, 64), plain)


def test_partial_images_of_flux_2() -> None:
    """Its latents are patches, normalised by the statistics in its VAE."""
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline

    torch.manual_seed(0)
    vae: Any = AutoencoderKLFlux2(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    parts: dict[str, Any] = {"text_encoder": None, "tokenizer": None, "transformer": None}
    pipeline: Any = Flux2KleinPipeline(scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, **parts)
    grid = torch.randn(1, 4, 8, 12)
    patches = pipeline._patchify_latents(grid)
    mean, variance = (value.view(1, -1, 1, 1) for value in (vae.bn.running_mean, vae.bn.running_var))
    normal = (patches - mean) / torch.sqrt(variance + vae.config.batch_norm_eps)
    assert supports_partial_images(pipeline)
    with torch.no_grad():
        decoded = decode_latents(pipeline, pipeline._pack_latents(normal), 96, 64)
        wanted = vae.decode(grid, return_dict=False)[0][0].permute(1, 2, 0) / 2 + 0.5
    assert decoded == pytest.approx(wanted.clamp(0, 1).numpy(), abs=1e-5)


def test_partial_images_of_a_vae_that_overflows_in_half_precision(
    load_images: LoadTiny[ImagesBackend],
) -> None:
    pipeline = load_images("sdxl").loaded_engine.pipeline
    latents = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0)).half()
    with torch.no_grad():
        wanted = decode_latents(pipeline, latents, 96, 64)
        pipeline.vae.half()
        assert decode_latents(pipeline, latents, 96, 64) == pytest.approx(wanted, abs=1e-2)
    assert pipeline.vae.dtype == torch.float16


def test_what_a_safety_checker_has_to_see_is_not_shown(load_images: LoadTiny[ImagesBackend]) -> None:
    pipeline = load_images("sdxl").loaded_engine.pipeline
    assert supports_partial_images(pipeline)
    pipeline.safety_checker = torch.nn.Identity()
    assert not supports_partial_images(pipeline)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_partial_images_are_what_the_step_was_heading_for(name: str) -> None:
    """Where all steps head for the same, every partial image shows that."""
    import diffusers

    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(6)
    flows = name.startswith("Flow")
    # Noise is mixed in, or added.
    towards = noise - clean if flows else noise
    latents = clean + towards * scheduler.sigmas[0]
    for timestep in scheduler.timesteps:
        if not flows:
            scheduler.scale_model_input(latents, timestep)
        before, latents = latents, scheduler.step(towards, timestep, latents, return_dict=False)[0]
        assert torch.allclose(estimate_clean(scheduler, before, latents), clean, atol=1e-3)


def test_partial_images_after_other_kinds_of_steps_are_the_latents() -> None:
    from diffusers import DDIMScheduler

    before, latents = torch.randn(2, 1, 4, 8, 8)
    assert estimate_clean(DDIMScheduler(), before, latents) is latents
