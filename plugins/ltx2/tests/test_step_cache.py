"""Step caches on LTX-2, which denoises two streams in up to three passes a step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from framegate.core.backend import Audio, FrameStream
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.step_cache.cache import StepCache
from framegate.plugins.ltx2.backend import Ltx2Backend

if TYPE_CHECKING:
    from framegate.core.backend import Frame

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 10
GUIDED = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="a red ball",
    width=96,
    height=64,
    num_frames=17,
    fps=24.0,
    seed=3,
    num_inference_steps=STEPS,
    guidance_scale=4.0,
)


class Observed:
    """What one job computed: frames, audio, and of each pass the two streams that the transformer returns."""

    def __init__(self, backend: Ltx2Backend, shot: Shot, folder: Path, **options: Any) -> None:
        engine = backend.loaded_engine
        transformer = engine.pipeline.transformer
        self.passes: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.last_block_calls = 0
        engine.step_cache = StepCache(Options(**options), [transformer])
        hooks = [
            transformer.register_forward_hook(self._on_pass),
            transformer.transformer_blocks[-1].register_forward_pre_hook(self._on_last_block),
        ]
        stream = backend.generate(shot, RecordingContext(folder))
        assert isinstance(stream, FrameStream)
        self.frames: list[Frame] = list(stream.frames)
        audio = stream.audio() if stream.audio else None
        assert audio is not None
        self.audio: Audio = audio
        for hook in hooks:
            hook.remove()

    def _on_pass(self, module: object, arguments: object, streams: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.passes.append((streams[0].clone(), streams[1].clone()))

    def _on_last_block(self, module: object, arguments: object) -> None:
        self.last_block_calls += 1

    def equals(self, other: "Observed") -> bool:
        return np.array_equal(np.stack(self.frames), np.stack(other.frames)) and np.array_equal(
            self.audio.samples, other.audio.samples
        )


@pytest.fixture(scope="module", params=["ltx2", "ltx23"])
def backend(models: Path, request: pytest.FixtureRequest) -> Ltx2Backend:
    backend = Ltx2Backend(str(models / request.param))
    backend.load("cpu")
    return backend


@pytest.fixture(scope="module")
def exact(backend: Ltx2Backend, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return Observed(backend, GUIDED, tmp_path_factory.mktemp("exact"))


def test_a_cache_that_skips_nothing_changes_nothing(
    backend: Ltx2Backend, exact: Observed, tmp_path: Path
) -> None:
    cached = Observed(backend, GUIDED, tmp_path, cache="first-block", cache_threshold=1e-9)
    assert cached.last_block_calls == exact.last_block_calls == len(exact.passes)
    assert cached.equals(exact), "perturbed and isolated passes included"


def test_predicted_steps_keep_the_sound(backend: Ltx2Backend, exact: Observed, tmp_path: Path) -> None:
    cached = Observed(backend, GUIDED, tmp_path, cache="taylorseer", cache_interval=3)
    assert cached.last_block_calls < 0.7 * exact.last_block_calls
    assert len(cached.passes) == len(exact.passes)
    for passes in zip(exact.passes, cached.passes, strict=True):
        for stream, computed, predicted in zip(("video", "sound"), *passes, strict=True):
            spread, predicted_spread = (each[0].std(dim=0).mean().item() for each in (computed, predicted))
            assert predicted_spread == pytest.approx(spread, rel=0.1), f"every moment of {stream} its own"
            alike = torch.nn.functional.cosine_similarity(computed.flatten(), predicted.flatten(), dim=0)
            assert alike > 0.98, stream
    assert not cached.equals(exact)
    assert cached.equals(Observed(backend, GUIDED, tmp_path, cache="taylorseer", cache_interval=3))


def test_a_stronger_cache_skips_more(backend: Ltx2Backend, exact: Observed, tmp_path: Path) -> None:
    light, strong = (Observed(backend, GUIDED, tmp_path, cache=cache) for cache in ("light", "strong"))
    assert exact.last_block_calls > light.last_block_calls > strong.last_block_calls
    difference = np.abs(np.stack(strong.frames).astype(int) - np.stack(exact.frames)).mean()
    assert 0 < difference < 5
