"""Step caches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from tests.support.tiny_models import AnyWanBackend, Calls, LoadTiny, generate, small_shot, write_video

pytestmark = pytest.mark.usefixtures("one_thread")


CACHES: dict[str, dict[str, Any]] = {
    "first-block": {"cache_threshold": 1.0},
    "taylorseer": {"cache_interval": 3},
    "magcache": {"cache_threshold": 1.0},
}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_a14b_t2v"])
def test_a_step_cache_skips_work_and_leaves_nothing_behind(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, kind: str, name: str
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=12)
    backend = load_wan(name, cache=kind, **CACHES[kind])
    parts = backend.loaded_engine.pipeline
    transformers = [parts.transformer, *([parts.transformer_2] if name == "wan22_a14b_t2v" else [])]
    last = [list(model.blocks)[-1].ffn for model in transformers]
    counts: list[int] = []
    results: list[Any] = []
    for _ in range(3):
        counters = [Calls(module) for module in last]
        results.append(generate(backend, shot, RecordingContext(tmp_path)))
        counts.append(sum(counter.count for counter in counters))
        assert not any(model.is_cache_enabled for model in transformers)
    full = 2 * 12
    if kind == "magcache":
        assert counts[0] == full, "the first run measures"
        counts, results = counts[1:], results[1:]
    assert all(count < full for count in counts)
    assert np.array_equal(results[0], results[1]), "no job inherits the cache of another"


def test_a_step_cache_leaves_remixes_alone(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, image: Path
) -> None:
    video = write_video(tmp_path / "video.mp4", size=(64, 64))
    shot = small_shot(Task.VIDEO_TO_VIDEO)
    context = RecordingContext(tmp_path, video=video)
    assert np.array_equal(
        generate(load_wan("wan21_t2v", cache="first-block"), shot, context),
        generate(load_wan("wan21_t2v"), shot, context),
    )
