"""Tiny Wan2.2 models, loaded and run by the code that runs the real ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framegate.core.backend import Backend
from framegate.core.testing import BackendContract, RecordingContext
from framegate.core.types import Task
from framegate.plugins.wan22 import MODELS, TI2V_5B
from framegate.plugins.wan22.backend import Wan22Backend
from tests.support.tiny_models import Calls, LoadTiny, TinyModel, generate, loading, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {spec.id: spec for spec in MODELS}
Load = LoadTiny[Wan22Backend]


@pytest.fixture
def load(tiny_model: TinyModel) -> Iterator[Load]:
    with loading(Wan22Backend, tiny_model) as load:
        yield load


class TestTI2V(BackendContract):
    spec = TI2V_5B

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan22Backend(str(tiny_model("wan22_ti2v")))


class TestA14BImageToVideo(BackendContract):
    spec = SPECS["wan22-i2v"]

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan22Backend(str(tiny_model("wan22_a14b_i2v")))


class TestA14BTextToVideo(BackendContract):
    spec = SPECS["wan22-t2v"]

    @pytest.fixture
    def backend(self, tiny_model: TinyModel) -> Backend:
        return Wan22Backend(str(tiny_model("wan22_a14b_t2v")))


@pytest.mark.parametrize("name", ["wan22_ti2v", "wan22_a14b_i2v"])
def test_the_image_counts(load: Load, name: str, tmp_path: Path, image: Path, other_image: Path) -> None:
    backend = load(name)
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    one, other = (
        generate(backend, shot, RecordingContext(tmp_path, image=path)) for path in (image, other_image)
    )
    assert (one != other).any()


def test_text_and_image_share_one_set_of_weights(load: Load, tmp_path: Path, image: Path) -> None:
    backend = load("wan22_ti2v")
    context = RecordingContext(tmp_path, image=image)
    first = generate(backend, small_shot(Task.TEXT_TO_VIDEO), context)
    between = generate(backend, small_shot(Task.IMAGE_TO_VIDEO), context)
    again = generate(backend, small_shot(Task.TEXT_TO_VIDEO), context)
    assert np.array_equal(first, again)
    assert (first != between).any()


def test_both_transformers_and_the_second_guidance_count(load: Load, tmp_path: Path) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4)
    context = RecordingContext(tmp_path)
    plain = generate(load("wan22_a14b_t2v"), shot, context)
    second = generate(load("wan22_a14b_t2v", guidance_scale_2=8.0), shot, context)
    assert (plain != second).any()


@pytest.mark.parametrize(
    ("name", "task", "guidance", "high", "low"),
    [
        ("wan22_a14b_t2v", Task.TEXT_TO_VIDEO, (4.0, 3.0), 26, 14),
        ("wan22_a14b_i2v", Task.IMAGE_TO_VIDEO, (3.5, 3.5), 15, 25),
    ],
    ids=["t2v", "i2v"],
)
def test_the_experts_share_the_steps_as_their_authors_have_it(
    load: Load,
    tmp_path: Path,
    image: Path,
    name: str,
    task: Task,
    guidance: tuple[float, float],
    high: int,
    low: int,
) -> None:
    """The tiny models' folders have flow shift 3; and guidance takes two passes a step."""
    backend = load(name)
    shot = small_shot(
        task, width=32, height=32, num_frames=1, num_inference_steps=40, guidance_scale=guidance[0]
    )
    pipeline = backend.loaded_engine.pipeline
    with Calls(pipeline.transformer) as first, Calls(pipeline.transformer_2) as second:
        generate(backend, shot, RecordingContext(tmp_path, image=image))
    assert (first.count, second.count) == (2 * high, 2 * low)
    assert (pipeline._guidance_scale, pipeline._guidance_scale_2) == guidance


def test_a_request_for_less_guidance_gets_less_from_both_transformers(load: Load, tmp_path: Path) -> None:
    backend = load("wan22_a14b_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO, width=32, height=32, num_frames=1, guidance_scale=2.0)
    generate(backend, shot, RecordingContext(tmp_path))
    assert backend.loaded_engine.pipeline._guidance_scale_2 == 2.0


@pytest.mark.parametrize("name", ["wan22_a14b_t2v", "wan22_a14b_i2v"])
def test_distilled_experts_take_two_steps_each(load: Load, tmp_path: Path, image: Path, name: str) -> None:
    task = Task.IMAGE_TO_VIDEO if "i2v" in name else Task.TEXT_TO_VIDEO
    backend = load(name, schedule="distilled")
    shot = small_shot(task, num_inference_steps=4, guidance_scale=1.0)
    pipeline = backend.loaded_engine.pipeline
    with Calls(pipeline.transformer) as first, Calls(pipeline.transformer_2) as second:
        generate(backend, shot, RecordingContext(tmp_path, image=image))
    assert (first.count, second.count) == (2, 2)
    assert pipeline.scheduler.timesteps.tolist() == pytest.approx([1000, 937.5, 833.3333, 625])


def test_the_5b_has_flow_shift_5_whatever_its_folder_says(
    load: Load, tiny_model: TinyModel, tmp_path: Path
) -> None:
    backend = load("wan22_ti2v")
    generate(backend, small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=1), RecordingContext(tmp_path))
    assert backend.loaded_engine.pipeline.scheduler.config.flow_shift == 5.0


def test_the_defaults_are_those_of_the_authors() -> None:
    # Wan-Video/Wan2.2, wan/configs
    defaults = {name: spec.defaults for name, spec in SPECS.items()}
    values = {
        name: (each.num_inference_steps, each.guidance_scale, each.fps, each.num_frames)
        for name, each in defaults.items()
    }
    assert values == {
        "wan22": (50, 5.0, 24.0, 121),
        "wan22-i2v": (40, 3.5, 16.0, 81),
        "wan22-t2v": (40, 4.0, 16.0, 81),
    }
    assert all(
        (each.negative_prompt or "").startswith("色调艳丽，过曝，静态，") for each in defaults.values()
    )


@pytest.mark.parametrize(
    ("name", "words"), [("wan22", "not for commercial use"), ("wan22-t2v", "LoRAs: Apache-2.0")]
)
def test_presets_say_what_their_licences_forbid(name: str, words: str) -> None:
    spec = SPECS[name]
    assert words not in spec.license
    assert words in spec.with_preset("distilled-4step").license


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_every_model_has_a_preset_of_four_steps_without_guidance(spec: Any) -> None:
    distilled = spec.with_preset("distilled-4step")
    assert (distilled.steps.clamp(50), distilled.guidance.clamp(5.0)) == (4, 1.0)
    assert distilled.defaults.num_inference_steps == 4
    components = {lora.get("component", "transformer") for lora in distilled.options["loras"]}
    assert components == ({"transformer"} if spec is TI2V_5B else {"transformer", "transformer_2"})
