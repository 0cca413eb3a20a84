"""Shots that are larger than what was planned for when the model was loaded."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from framegate.core.testing import RecordingContext
from framegate.core.types import ShotSize, Task
from framegate.plugins.diffusers import engine as engine_module
from framegate.plugins.diffusers.planning.activations import Activations
from framegate.plugins.diffusers.planning.memory import ModelMemory
from framegate.plugins.diffusers.planning.placement import GIB, RESERVED
from tests.support.offloading import FakeDevice, weights_of
from tests.support.tiny_models import AnyWanBackend, LoadTiny, TinyModel, generate, loading, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = small_shot(Task.TEXT_TO_VIDEO)
LARGE = small_shot(Task.TEXT_TO_VIDEO, width=128)
HUGE = small_shot(Task.TEXT_TO_VIDEO, width=160)


class Card:
    """A card on which small shots fit beside all weights, and others beside what ``room`` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.capacity = 0

        def activations(memory: ModelMemory, size: ShotSize) -> Activations:
            return Activations(denoise={96: 0, 128: GIB, 160: 2 * GIB}.get(size.width, 0))

        def capacity_of(_: torch.device) -> int:
            return self.capacity

        monkeypatch.setattr(ModelMemory, "activations", activations)
        monkeypatch.setattr(engine_module, "capacity_of", capacity_of)

    def fit(self, backend: AnyWanBackend, **sizes: int) -> None:
        """Take as much memory as the placement named needs for a shot of that width."""
        ((offload, width),) = sizes.items()
        memory = backend.loaded_engine.memory
        placement = memory.placement(0, offload=offload, size=ShotSize(width, 64, 9))
        self.capacity = placement.peak + RESERVED


def placed(backend: AnyWanBackend) -> str:
    """Where the weights of ``backend`` are kept."""
    return backend.loaded_engine.loaded.offloader.placement.offload


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


@pytest.fixture
def load(tiny_model: TinyModel) -> Iterator[LoadTiny[AnyWanBackend]]:
    with loading(AnyWanBackend, tiny_model) as load:
        yield load


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("wan22_a14b_t2v", {}),
        ("wan21_t2v", {"quantize": "int8-weights"}),
        ("wan21_t2v", {"quantize": "fp8-layerwise"}),
        ("wan21_t2v", {"compile": True}),
    ],
)
def test_a_larger_shot_moves_weights_off_the_device_for_good(
    load: LoadTiny[AnyWanBackend],
    fake_device: FakeDevice,
    card: Card,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    options: dict[str, Any],
) -> None:
    from framegate.plugins.diffusers.loading import pipelines
    from framegate.plugins.diffusers.loading.compiling import compile_blocks

    monkeypatch.setattr(pipelines, "compile_blocks", partial(compile_blocks, backend="eager"))
    backend = load(model, **options)
    context = RecordingContext(tmp_path)
    expected = [generate(backend, shot, context) for shot in (SMALL, LARGE, HUGE)]
    card.fit(backend, model=128)
    with capture_logs() as logs:
        assert np.array_equal(generate(backend, SMALL, context), expected[0])
        assert placed(backend) == "none"
        assert np.array_equal(generate(backend, LARGE, context), expected[1])
    assert [entry["offload"] for entry in logs if entry["event"] == "model_placed_again"] == ["model"]
    assert {type(module).__name__ for module in fake_device.copied} >= {"WanTransformer3DModel"}
    assert not fake_device.holds
    before = weights_of(backend)
    assert np.array_equal(generate(backend, SMALL, context), expected[0]), "it stays there"
    assert placed(backend) == "model"
    card.fit(backend, group=160)
    fake_device.copied.clear()
    assert np.array_equal(generate(backend, HUGE, context), expected[2])
    assert placed(backend) == "group"
    assert {type(module).__name__ for module in fake_device.copied} >= {"WanTransformerBlock"}
    assert not fake_device.holds
    assert weights_of(backend).keys() == before.keys()
    assert np.array_equal(generate(backend, SMALL, context), expected[0])


def test_only_auto_moves(load: LoadTiny[AnyWanBackend], card: Card, tmp_path: Path) -> None:
    backend = load("wan21_t2v", offload="none")
    card.fit(backend, model=128)
    generate(backend, LARGE, RecordingContext(tmp_path))
    assert placed(backend) == "none"
