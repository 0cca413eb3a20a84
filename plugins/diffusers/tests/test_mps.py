"""What is chosen for Apple's GPUs. No test runs on one."""

from typing import Any

import pytest
import torch

from framegate.core.errors import OutOfMemory
from framegate.plugins.diffusers.cancellation import CancelPoints
from framegate.plugins.diffusers.loading.attention import choose_backend
from framegate.plugins.diffusers.loading.compiling import should_compile
from framegate.plugins.diffusers.loading.placement import plan_placement
from framegate.plugins.diffusers.memory import oom_as_job_error, release
from framegate.plugins.diffusers.options import Options
from framegate.plugins.wan21.backend import Wan21Backend
from tests.support.tiny_models import TinyModel, tiny_model

__all__ = ["tiny_model"]

MPS = torch.device("mps")


def test_it_computes_in_the_dtypes_of_a_gpu(tiny_model: TinyModel) -> None:
    folder = tiny_model("wan21_t2v")
    backend: Any = Wan21Backend(str(folder))
    engine: Any = backend._create_engine("mps")
    engine.select_device()
    memory = engine._read_memory(folder)
    assert (memory.dtypes["default"], memory.dtypes["vae"]) == ("bfloat16", "float32")
    assert engine.generator(7).device.type == "cpu"
    placement = plan_placement(Options(offload="group"), memory, MPS)
    assert placement.offload == "none"


def test_nothing_of_cuda_is_called() -> None:
    assert not should_compile(Options(), MPS)
    unmeasured: Any = None
    chosen = choose_backend(unmeasured, Options(), MPS, compiled=False, decisions=unmeasured)
    assert chosen == ("native", "the device is mps")
    CancelPoints(MPS)


def test_its_memory_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[None] = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append(None))
    release(MPS)
    with (
        pytest.raises(OutOfMemory, match=r"^The GPU ran out of memory while denoising"),
        oom_as_job_error("denoising", MPS),
    ):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
    assert len(freed) == 2
