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
from tests.support.tiny_models import LoadTiny, TinyModel, generate, loading, small_shot

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


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_every_model_has_a_preset_of_four_steps_without_guidance(spec: Any) -> None:
    distilled = spec.with_preset("distilled-4step")
    assert (distilled.steps.clamp(50), distilled.guidance.clamp(5.0)) == (4, 1.0)
    assert distilled.defaults.num_inference_steps == 4
    components = {lora.get("component", "transformer") for lora in distilled.options["loras"]}
    assert components == ({"transformer"} if spec is TI2V_5B else {"transformer", "transformer_2"})
