"""Wan2.2 in miniature, loaded and run by the code that runs the real one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framegate.core.backend import Backend
from framegate.core.testing import BackendContract, RecordingContext
from framegate.core.types import Task
from framegate.plugins.wan22 import MODELS, TI2V_5B
from framegate.plugins.wan22.backend import Wan22Backend
from tests.support.tiny_models import TinyModel, made, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = {spec.id: spec for spec in MODELS}
Load = Callable[..., Wan22Backend]


@pytest.fixture
def load(tiny_model: TinyModel) -> Iterator[Load]:
    loaded: list[Wan22Backend] = []

    def start(name: str, **options: Any) -> Wan22Backend:
        backend = Wan22Backend(str(tiny_model(name)), options)
        backend.load("cpu")
        loaded.append(backend)
        return backend

    yield start
    for backend in loaded:
        backend.unload()


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
def test_the_picture_is_seen(
    load: Load, name: str, tmp_path: Path, picture: Path, other_picture: Path
) -> None:
    backend = load(name)
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    one, other = (
        made(backend, shot, RecordingContext(tmp_path, image=path)) for path in (picture, other_picture)
    )
    assert (one != other).any()


def test_text_and_picture_take_turns_on_one_set_of_weights(load: Load, tmp_path: Path, picture: Path) -> None:
    backend = load("wan22_ti2v")
    context = RecordingContext(tmp_path, image=picture)
    first = made(backend, small_shot(Task.TEXT_TO_VIDEO), context)
    between = made(backend, small_shot(Task.IMAGE_TO_VIDEO), context)
    again = made(backend, small_shot(Task.TEXT_TO_VIDEO), context)
    assert np.array_equal(first, again)
    assert (first != between).any()


def test_both_transformers_and_the_second_guidance_count(load: Load, tmp_path: Path) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4)
    context = RecordingContext(tmp_path)
    plain = made(load("wan22_a14b_t2v"), shot, context)
    second = made(load("wan22_a14b_t2v", guidance_scale_2=8.0), shot, context)
    assert (plain != second).any()


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_every_model_has_a_preset_of_four_steps_without_guidance(spec: Any) -> None:
    distilled = spec.with_preset("distilled-4step")
    assert (distilled.steps.clamp(50), distilled.guidance.clamp(5.0)) == (4, 1.0)
    assert distilled.defaults.num_inference_steps == 4
    components = {lora.get("component", "transformer") for lora in distilled.options["loras"]}
    assert components == ({"transformer"} if spec is TI2V_5B else {"transformer", "transformer_2"})
