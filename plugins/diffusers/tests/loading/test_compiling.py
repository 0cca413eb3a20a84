"""Compiled blocks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel

from framegate.plugins.diffusers.loading.compiling import compile_blocks, set_compile_cache, should_compile
from framegate.plugins.diffusers.options import Options
from tests.support.tiny_models import Calls, TinyModel

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def test_compiling_is_for_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not should_compile(Options(compile=True), CPU, "none")
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = set_compile_cache(Options(compile_cache=str(tmp_path / "compiled")))
    assert folder.is_dir()


def test_all_blocks_are_compiled_once(tiny_model: TinyModel) -> None:
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    model = WanTransformer3DModel.from_pretrained(str(tiny_model("wan21_t2v")), subfolder="transformer")
    inputs: dict[str, Any] = {
        "hidden_states": torch.randn((1, 16, 2, 8, 8), generator=torch.Generator().manual_seed(1)),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn((1, 512, 32), generator=torch.Generator().manual_seed(2)),
        "return_dict": False,
    }
    with torch.no_grad():
        (eager,) = model(**inputs)
        assert compile_blocks(model, backend="aot_eager") == 2
        second = Calls(model.blocks[1])
        (compiled,) = model(**inputs)
    assert torch.allclose(eager, compiled, atol=1e-5)
    assert second.count == 1, "hooks stay outside of what is compiled"
    assert counters["stats"]["unique_graphs"] == 1, "one graph for both"
