"""Tiny Wan2.1 models, loaded and run by the code that runs the real ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed
from framegate.core.testing import BackendContract, RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.wan21 import MODELS
from framegate.plugins.wan21.backend import Wan21Backend
from tests.support.tiny_models import LoadTiny, TinyModel, generate, loading, small_shot, write_video

if TYPE_CHECKING:
    from framegate.core.backend import Frame

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {spec.id: spec for spec in MODELS}
Load = LoadTiny[Wan21Backend]


@pytest.fixture
def load(tiny_model: TinyModel) -> Iterator[Load]:
    with loading(Wan21Backend, tiny_model) as load:
        yield load


class TestImageToVideo(BackendContract):
    spec = SPECS["wan21"]

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan21Backend(str(tiny_model("wan21_i2v")))


class TestTextAndVideoToVideo(BackendContract):
    spec = SPECS["wan21-t2v"]

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan21Backend(str(tiny_model("wan21_t2v")))

    def source_video(self, folder: Path) -> Path:
        return write_video(folder / "video.mp4")


class TestFirstAndLastFrame(BackendContract):
    spec = SPECS["wan21-flf2v"]

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan21Backend(str(tiny_model("wan21_flf2v")))

    def frames(
        self, backend: Backend, shot: Shot, folder: Path, cancel_after: int | None = None
    ) -> "list[Frame]":
        image = folder / "image.png"
        Image.new("RGB", (80, 80), "navy").save(image)
        context = RecordingContext(folder, image=image, last_image=image, cancel_after=cancel_after)
        return list(generate(backend, shot, context))


def test_the_image_counts(load: Load, tmp_path: Path, image: Path, other_image: Path) -> None:
    backend = load("wan21_i2v")
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    one, other = (
        generate(backend, shot, RecordingContext(tmp_path, image=path)) for path in (image, other_image)
    )
    assert (one != other).any()


def test_the_last_image_counts(load: Load, tmp_path: Path, image: Path, other_image: Path) -> None:
    backend = load("wan21_flf2v")
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    one, other = (
        generate(backend, shot, RecordingContext(tmp_path, image=image, last_image=path))
        for path in (image, other_image)
    )
    assert (one != other).any()


def test_weights_for_two_images_ask_for_the_last_one(load: Load, tmp_path: Path, image: Path) -> None:
    with pytest.raises(GenerationFailed, match="the job has no last one"):
        generate(
            load("wan21_flf2v"), small_shot(Task.IMAGE_TO_VIDEO), RecordingContext(tmp_path, image=image)
        )


def test_weights_say_what_they_are_for(load: Load, tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="are for image-to-video, not for text-to-video"):
        generate(load("wan21_i2v"), small_shot(Task.TEXT_TO_VIDEO), RecordingContext(tmp_path))


def test_a_remix_follows_its_video_and_its_strength(load: Load, tmp_path: Path) -> None:
    backend = load("wan21_t2v")

    def remix(source: Path, strength: float) -> tuple[Any, list[str]]:
        context = RecordingContext(tmp_path, video=source)
        shot = small_shot(Task.VIDEO_TO_VIDEO, num_inference_steps=4, strength=strength)
        return generate(backend, shot, context), [message for _, _, message in context.reports]

    dark, light = write_video(tmp_path / "dark.mp4"), write_video(tmp_path / "light.mp4", first=90)
    half, messages = remix(dark, 0.5)
    assert (half != remix(light, 0.5)[0]).any(), "another video, another remix"
    assert [message for message in messages if message.startswith("step")] == ["step 1 of 2", "step 2 of 2"]
    barely, messages = remix(dark, 0.0)
    assert "step 1 of 1" in messages, "the least is one step"
    assert len(barely) == 9


@pytest.mark.parametrize(("size", "shift"), [((832, 480), 3.0), ((480, 832), 3.0), ((1280, 720), 5.0)])
def test_the_flow_shift_goes_with_the_size(load: Load, size: tuple[int, int], shift: float) -> None:
    from framegate.plugins.wan21.engine import Wan21Engine

    engine = load("wan21_i2v").loaded_engine
    assert isinstance(engine, Wan21Engine)
    assert engine.flow_shift(small_shot(Task.IMAGE_TO_VIDEO, width=size[0], height=size[1])) == shift


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_every_distilled_preset_is_four_steps_without_guidance(spec: Any) -> None:
    for name in spec.presets:
        distilled = spec.with_preset(name)
        assert (distilled.steps.clamp(30), distilled.guidance.clamp(3.0)) == (4, 1.0)
        assert distilled.options["flow_shift"] == 5.0
        assert all(lora["weight_name"].endswith(".safetensors") for lora in distilled.options["loras"])
