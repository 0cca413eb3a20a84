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


def used_scheduler(backend: Wan21Backend, shot: Shot, folder: Path, image: Path) -> Any:
    generate(backend, shot, RecordingContext(folder, image=image, last_image=image))
    return backend.loaded_engine.pipeline.scheduler


@pytest.mark.parametrize(
    ("name", "shift"), [("wan21_flf2v", 16.0), ("wan21_i2v", 3.0), ("wan21_t2v", 5.0)], ids=str
)
def test_a_folder_that_says_otherwise_is_stepped_with_the_authors_flow_shift(
    load: Load, tmp_path: Path, image: Path, name: str, shift: float
) -> None:
    task = Task.TEXT_TO_VIDEO if name == "wan21_t2v" else Task.IMAGE_TO_VIDEO
    shot = small_shot(task, num_inference_steps=1, guidance_scale=1.0)
    assert used_scheduler(load(name), shot, tmp_path, image).config.flow_shift == shift
    own = load(name, flow_shift=7.0)
    assert used_scheduler(own, shot, tmp_path, image).config.flow_shift == 7.0


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.VIDEO_TO_VIDEO])
def test_the_distilled_preset_steps_as_the_distillation_did(load: Load, tmp_path: Path, task: Task) -> None:
    options: dict[str, Any] = {**SPECS["wan21-t2v"].with_preset("distilled-4step").options, "loras": []}
    shot = small_shot(task, num_inference_steps=4, guidance_scale=1.0, strength=1.0)
    backend = load("wan21_t2v", **options)
    generate(backend, shot, RecordingContext(tmp_path, video=write_video(tmp_path / "video.mp4")))
    engine: Any = backend.loaded_engine
    scheduler = engine._pipelines.select(task).scheduler
    # LightX2V's set_denoising_timesteps with sample_shift 5 and denoising_step_list 1000, 750, 500, 250.
    levels = [5.0 * level / (1.0 + 4.0 * level) for level in (1.0, 0.75, 0.5, 0.25)]
    assert scheduler.sigmas.tolist() == pytest.approx([*levels, 0.0], abs=1e-7)
    assert scheduler.timesteps.tolist() == pytest.approx([1000.0 * level for level in levels], abs=1e-4)


def test_the_defaults_are_those_of_the_authors() -> None:
    # Wan-Video/Wan2.1, generate.py and wan/configs
    defaults = {name: spec.defaults for name, spec in SPECS.items()}
    assert {name: each.num_inference_steps for name, each in defaults.items()} == {
        "wan21": 40,
        "wan21-720p": 40,
        "wan21-flf2v": 50,
        "wan21-t2v": 50,
    }
    assert {each.guidance_scale for each in defaults.values()} == {5.0}
    assert {(each.fps, each.num_frames) for each in defaults.values()} == {(16.0, 81)}
    text = defaults["wan21-t2v"].negative_prompt
    assert text is not None
    assert text.startswith("色调艳丽，过曝，静态，")
    assert text.endswith("背景人很多，倒着走")
    assert defaults["wan21"].negative_prompt == "镜头晃动，" + text
    assert defaults["wan21-flf2v"].negative_prompt == "镜头切换，镜头晃动，" + text


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_every_distilled_preset_is_four_steps_without_guidance(spec: Any) -> None:
    for name in spec.presets:
        distilled = spec.with_preset(name)
        assert (distilled.steps.clamp(30), distilled.guidance.clamp(3.0)) == (4, 1.0)
        assert distilled.options["flow_shift"] == 5.0
        assert distilled.options["schedule"] == "distilled"
        assert "check before commercial use" in distilled.license
        assert all(lora["weight_name"].endswith(".safetensors") for lora in distilled.options["loras"])
