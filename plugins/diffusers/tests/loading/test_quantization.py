"""Quantised weights."""

from pathlib import Path

import numpy as np
import pytest

from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from tests.support.tiny_models import AnyWanBackend, LoadTiny, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-weights", "fp8-layerwise"])
def test_quantised_weights_give_nearly_the_same(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, kind: str
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, guidance_scale=1.0)
    exact = generate(load_wan("wan21_t2v"), shot, RecordingContext(tmp_path)).astype(float)
    near = generate(load_wan("wan21_t2v", quantize=kind), shot, RecordingContext(tmp_path)).astype(float)
    assert (exact != near).any(), "it is not exact"
    assert np.abs(exact - near).mean() < 12
