"""LTX-2 with compiled blocks, as on CUDA; what traces, guards and limits them there does so here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.loading.compiling import compile_blocks
from framegate.plugins.ltx2.backend import Ltx2Backend
from framegate.plugins.ltx2.guidance import OFF
from tests.support.tiny_models import generate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("one_thread")

SHOT = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="a red ball on a green field",
    width=96,
    height=64,
    num_frames=17,
    fps=24.0,
    seed=3,
    num_inference_steps=2,
    guidance_scale=4.0,
)
SIZES = [(64, 96, 9), (96, 96, 25)]


def perturbed_only(scale: float, transformer: Any) -> dict[str, Any]:
    """Of the guidances that one which is unlike the plain pass: each kind of pass takes seconds to trace."""
    return {**OFF, "stg_scale": 1.0, "spatio_temporal_guidance_blocks": [1]}


def test_guided_jobs_of_all_sizes_share_their_graphs(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setattr("framegate.plugins.ltx2.engine.guidance", perturbed_only)
    backend = Ltx2Backend(str(models / "ltx23"))
    backend.load("cpu")

    def frames(**values: Any) -> "NDArray[np.uint8]":
        return generate(backend, replace(SHOT, **values), RecordingContext(tmp_path))

    compile_blocks(*backend.loaded_engine.loaded.denoisers, backend="eager")
    counters.clear()
    with capture_logs() as logs:
        before = frames()
        graphs = counters["stats"]["unique_graphs"]
        for width, height, num_frames in SIZES:
            frames(width=width, height=height, num_frames=num_frames)
        assert (frames() == before).all()
    assert not [line for line in logs if line["log_level"] == "warning"]
    assert graphs == counters["stats"]["unique_graphs"] == 2, "plain and perturbed blocks"
