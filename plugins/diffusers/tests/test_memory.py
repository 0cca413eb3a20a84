"""Running out of memory."""

import pytest
import torch

from framegate.core.errors import OutOfMemory
from framegate.core.types import Task
from framegate.plugins.diffusers.memory import oom_as_job_error
from tests.support.tiny_models import small_shot

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("can't allocate memory: 1 TB"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_running_out_of_memory_says_what_would_fit(error: Exception) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, width=1280, height=704, num_frames=121)
    with pytest.raises(OutOfMemory) as caught, oom_as_job_error("denoising", CPU, shot):
        raise error
    message = caught.value.message
    assert "while denoising 1280×704 with 121 frames" in message
    assert "896×480 or 61 frames" in message
    assert caught.value.__cause__ is None


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="a bug"), oom_as_job_error("denoising", CPU):
        raise RuntimeError("a bug")
