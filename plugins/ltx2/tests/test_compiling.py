"""LTX-2 with compiled blocks, as on CUDA; what traces, guards and limits them there does so here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.loading.compiling import compile_blocks
from framegate.plugins.ltx2.backend import Ltx2Backend
from tests.support.tiny_models import generate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("one_thread")

SHOT = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="a red ball on a green field",
    width=128,
    height=128,
    num_frames=17,
    fps=24.0,
    seed=3,
    num_inference_steps=2,
    guidance_scale=4.0,
)
SIZES = [(128, 192, 9), (192, 128, 25)]


def compiled(source: Path, **options: Any) -> Ltx2Backend:
    backend = Ltx2Backend(str(source), options)
    backend.load("cpu")
    compile_blocks(*backend.loaded_engine.loaded.denoisers, backend="eager")
    return backend


def frames(backend: Ltx2Backend, folder: Path, **values: Any) -> "NDArray[np.uint8]":
    return generate(backend, replace(SHOT, **values), RecordingContext(folder))


def check(backend: Ltx2Backend, folder: Path, **values: Any) -> None:
    """Check that more sizes need no more graphs, and that the first one's result stays as it was."""
    from torch._dynamo.utils import counters

    counters.clear()
    with capture_logs() as logs:
        before = frames(backend, folder, **values)
        graphs = counters["stats"]["unique_graphs"]
        for width, height, num_frames in SIZES:
            frames(backend, folder, width=width, height=height, num_frames=num_frames, **values)
        assert (frames(backend, folder, **values) == before).all()
    assert not [line for line in logs if line["log_level"] == "warning"]
    assert 0 < counters["stats"]["unique_graphs"] == graphs


def test_guided_jobs_of_all_sizes_share_their_graphs(models: Path, tmp_path: Path) -> None:
    check(compiled(models / "ltx23"), tmp_path)


def test_two_stages_and_their_lora_are_compiled(models: Path, tmp_path: Path) -> None:
    lora = testing.save_lora("ltx2", tmp_path / "lora", 1.0)
    options = {"stages": 2, "refine_lora": {"source": str(lora)}}
    check(compiled(models / "ltx2_distilled", **options), tmp_path, guidance_scale=1.0)
