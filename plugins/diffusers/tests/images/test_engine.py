"""Image models of diffusers, on tiny random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed, JobCancelled, OutOfMemory
from framegate.core.testing import BackendContract, RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.images.engine import guidance_for
from framegate.plugins.diffusers.images.models import IMAGE, IMAGE_EDIT
from tests.support.tiny_models import IMAGE_SHOT, IMAGE_TO_IMAGE_SHOT, LoadTiny, TinyModel, generate

pytestmark = pytest.mark.usefixtures("one_thread")


class TestStableDiffusionXL(BackendContract):
    spec: ClassVar = IMAGE

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return ImagesBackend(str(tiny_model("sdxl")))


class TestFluxKontext(BackendContract):
    spec: ClassVar = IMAGE_EDIT

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return ImagesBackend(str(tiny_model("flux_kontext")))


class TestQwenImage(BackendContract):
    spec: ClassVar = IMAGE

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return ImagesBackend(str(tiny_model("qwen_image")))


def test_images_equal_those_of_the_plain_pipeline(
    tiny_model: TinyModel, load_images: LoadTiny[ImagesBackend], tmp_path: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    plain: Any = StableDiffusionXLPipeline.from_pretrained(tiny_model("sdxl"), dtype=torch.float32)
    wanted = plain(
        prompt=IMAGE_SHOT.prompt,
        width=IMAGE_SHOT.width,
        height=IMAGE_SHOT.height,
        num_inference_steps=IMAGE_SHOT.num_inference_steps,
        guidance_scale=IMAGE_SHOT.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(IMAGE_SHOT.seed),
    ).images[0]
    assert np.array_equal(
        generate(load_images("sdxl"), IMAGE_SHOT, RecordingContext(tmp_path))[0], np.asarray(wanted)
    )


def test_several_images_use_the_seeds_that_follow(backend: ImagesBackend, tmp_path: Path) -> None:
    two = generate(backend, replace(IMAGE_SHOT, num_frames=2), RecordingContext(tmp_path))
    assert two.shape == (2, IMAGE_SHOT.height, IMAGE_SHOT.width, 3)
    alone = generate(backend, replace(IMAGE_SHOT, seed=IMAGE_SHOT.seed + 1), RecordingContext(tmp_path))
    assert np.array_equal(two[1], alone[0])


@pytest.mark.parametrize("shot", [IMAGE_SHOT, IMAGE_TO_IMAGE_SHOT], ids=lambda shot: shot.task)
def test_prompt_negative_prompt_and_guidance_count(
    backend: ImagesBackend, tmp_path: Path, image: Path, shot: Shot
) -> None:
    context = RecordingContext(tmp_path, image=image)
    before = generate(backend, shot, context)
    # The same steps of other words, not only of other noise; random weights hardly listen to words.
    for change in ({"prompt": "a city at night"}, {"negative_prompt": "blue"}, {"guidance_scale": 12.0}):
        assert not np.array_equal(before, generate(backend, replace(shot, **change), context)), change


@pytest.mark.parametrize(("kind", "off"), [("ZImagePipeline", 0.0), ("StableDiffusion3Pipeline", 1.0)])
def test_guidance_1_is_none_for_every_family(kind: str, off: float) -> None:
    """Z-Image's pipeline is guided from anything above 0."""
    pipeline: Any = object.__new__(getattr(diffusers, kind))
    assert (guidance_for(pipeline, 1.0), guidance_for(pipeline, 3.0)) == (off, 3.0)


def test_the_source_image_counts_as_far_as_strength_says(
    backend: ImagesBackend, tmp_path: Path, image: Path, other_image: Path
) -> None:
    context, other = (RecordingContext(tmp_path, image=path) for path in (image, other_image))
    assert not np.array_equal(
        generate(backend, IMAGE_TO_IMAGE_SHOT, context), generate(backend, IMAGE_TO_IMAGE_SHOT, other)
    )
    steps: list[int] = []
    for strength in (0.0, 0.5, 1.0):
        context = RecordingContext(tmp_path, image=image)
        generate(backend, replace(IMAGE_TO_IMAGE_SHOT, strength=strength), context)
        steps.append(sum(message.startswith("step") for _, _, message in context.reports))
    assert 1 <= steps[0] <= 2  # one step is made at least; some pipelines round up
    assert steps[1:] == [2, 4]


def test_progress_is_reported_for_every_step_of_every_image(backend: ImagesBackend, tmp_path: Path) -> None:
    context = RecordingContext(tmp_path)
    generate(backend, replace(IMAGE_SHOT, num_frames=2), context)
    assert [message for _, _, message in context.reports] == [
        "encoding the prompt",
        *(f"step {step} of 4, part {part} of 2" for part in (1, 2) for step in (1, 2, 3, 4)),
    ]
    done = [step for step, _, _ in context.reports]
    assert done == sorted(done)


def test_a_prompt_is_encoded_once(backend: ImagesBackend, tmp_path: Path) -> None:
    shot = replace(IMAGE_SHOT, prompt="a prompt of its own")
    first = generate(backend, shot, RecordingContext(tmp_path))

    def encoded_again(*arguments: object, **named: object) -> None:
        raise AssertionError("the prompt was encoded again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.loaded_engine.pipeline.text_encoder, "forward", encoded_again)
        assert np.array_equal(first, generate(backend, shot, RecordingContext(tmp_path)))


def test_a_cancelled_job_stops_between_two_blocks(backend: ImagesBackend, tmp_path: Path) -> None:
    wanted = generate(backend, IMAGE_SHOT, RecordingContext(tmp_path))

    class Cancelled(RecordingContext):
        checks = 0

        def check_cancelled(self) -> None:
            self.checks += 1
            if any(message.startswith("step 1") for _, _, message in self.reports):
                raise JobCancelled

    context = Cancelled(tmp_path)
    with pytest.raises(JobCancelled):
        generate(backend, IMAGE_SHOT, context)
    assert len(context.reports) == 2
    assert context.checks > len(context.reports) + 1
    assert np.array_equal(wanted, generate(backend, IMAGE_SHOT, RecordingContext(tmp_path)))


def out_of_memory(*arguments: object, **named: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae.decoder"])
def test_running_out_of_memory_fails_one_job_alone(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    backend = load_images("qwen_image")
    model = backend.loaded_engine.pipeline
    for name in part.split("."):
        model = getattr(model, name)
    with monkeypatch.context() as patch:
        patch.setattr(model, "forward", out_of_memory)
        with pytest.raises(OutOfMemory, match="96×64"):
            generate(backend, IMAGE_SHOT, RecordingContext(tmp_path))
    assert len(generate(backend, IMAGE_SHOT, RecordingContext(tmp_path))) == 1


def test_what_can_not_be_decoded_in_one_piece_is_decoded_in_tiles(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load_images("sdxl")
    decoder = backend.loaded_engine.pipeline.vae.decoder
    decode: Callable[..., Any] = decoder.forward

    failures = 0

    def small_only(hidden: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        nonlocal failures
        if hidden.shape[-1] > 8:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(hidden, *arguments, **named)

    monkeypatch.setattr(decoder, "forward", small_only)
    for _ in range(2):
        frames = generate(backend, IMAGE_SHOT, RecordingContext(tmp_path))
        assert frames.shape == (1, 64, 96, 3)
    assert failures == 1, "the next image is decoded in tiles at once"
    assert not backend.loaded_engine.pipeline.vae.use_tiling


def test_sizes_are_warmed_up(load_images: LoadTiny[ImagesBackend], tmp_path: Path) -> None:
    warm = load_images("sdxl", warm_up=["96x64x1"])
    context = RecordingContext(tmp_path)
    assert np.array_equal(
        generate(warm, IMAGE_SHOT, context), generate(load_images("sdxl"), IMAGE_SHOT, context)
    )


def test_tiles_can_be_requested(load_images: LoadTiny[ImagesBackend]) -> None:
    assert load_images("sdxl", vae_tiling="on").loaded_engine.pipeline.vae.use_tiling


def test_a_model_that_makes_videos_is_refused(tiny_model: TinyModel) -> None:
    backend = ImagesBackend(str(tiny_model("wan21_t2v")))
    with pytest.raises(GenerationFailed, match="WanPipeline"):
        backend.load("cpu")


def test_what_the_weights_are_not_for_is_refused(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path
) -> None:
    with pytest.raises(GenerationFailed, match="not for text-to-video"):
        generate(
            load_images("sdxl"), replace(IMAGE_SHOT, task=Task.TEXT_TO_VIDEO), RecordingContext(tmp_path)
        )


@pytest.mark.parametrize("size", [(96, 64), (64, 160)])
def test_an_edited_image_has_the_requested_size(
    load_images: LoadTiny[ImagesBackend],
    tmp_path: Path,
    image: Path,
    other_image: Path,
    size: tuple[int, int],
) -> None:
    backend = load_images("flux_kontext")
    shot = replace(IMAGE_SHOT, task=Task.IMAGE_TO_IMAGE, width=size[0], height=size[1])
    edited, edited_other = (
        generate(backend, shot, RecordingContext(tmp_path, image=path)) for path in (image, other_image)
    )
    assert edited.shape == (1, size[1], size[0], 3)
    assert not np.array_equal(edited, edited_other)
    stronger = replace(shot, guidance_scale=9.0)
    assert not np.array_equal(edited, generate(backend, stronger, RecordingContext(tmp_path, image=image)))


def test_an_image_of_another_shape_is_cropped(load_images: LoadTiny[ImagesBackend], tmp_path: Path) -> None:
    tall = tmp_path / "tall.png"
    Image.new("RGB", (40, 200), (20, 120, 220)).save(tall)
    frames = generate(load_images("sdxl"), IMAGE_TO_IMAGE_SHOT, RecordingContext(tmp_path, image=tall))
    assert frames.shape == (1, 64, 96, 3)
