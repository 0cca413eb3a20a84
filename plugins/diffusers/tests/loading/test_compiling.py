"""Compiled blocks."""

import gc
import os
import weakref
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from structlog.testing import capture_logs
from torch import nn

from framegate.core.errors import JobCancelled, OutOfMemory
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers.loading import compiling
from framegate.plugins.diffusers.loading.compiling import (
    compile_blocks,
    restore_eager,
    set_compile_cache,
    should_compile,
)
from framegate.plugins.diffusers.options import Options
from tests.support.tiny_models import AnyWanBackend, Calls, LoadTiny, TinyModel, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SHOT = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=1, guidance_scale=1.0)


class Block(nn.Module):
    """A block that needs two graphs: for one row of ``condition`` and for several."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.error: Exception | None = None

    def forward(self, states: torch.Tensor, *, condition: torch.Tensor) -> torch.Tensor:
        if self.error is not None:
            raise self.error
        hidden: torch.Tensor = self.layer(states) + condition
        return torch.softmax(hidden, dim=-1)


class Model(nn.Module):
    _repeated_blocks: tuple[str, ...] = ("Block",)

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    @torch.no_grad()
    def forward(self, rows: int, conditions: int = 1) -> torch.Tensor:
        random = torch.Generator().manual_seed(rows)
        states = torch.randn((1, rows, 8), generator=random)
        for block in self.blocks:
            states = block(states, condition=torch.ones((1, conditions, 8)))
        return states


class Graphs:
    """A compiler's backend that notes which graph runs at each call."""

    def __init__(self) -> None:
        self.count = 0
        self.ran: list[int] = []

    def __call__(self, graph: Callable[..., Any], inputs: object) -> Callable[..., Any]:
        number, self.count = self.count, self.count + 1

        def run(*arguments: object) -> Any:
            self.ran.append(number)
            return graph(*arguments)

        return run


def failing(error: Exception) -> Callable[..., Any]:
    """Return a compiler's backend that raises ``error``."""

    def fail(graph: object, inputs: object) -> Any:
        raise error

    return fail


def test_compiling_is_for_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not should_compile(Options(compile=True), CPU)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = set_compile_cache(Options(compile_cache=str(tmp_path / "compiled")))
    assert folder is not None
    assert folder.is_dir()


def test_a_folder_that_takes_no_files_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied", "/srv/kept")

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    file = tmp_path / "file"
    file.touch()
    with capture_logs() as logs:
        assert set_compile_cache(Options(compile_cache=str(file / "compiled"))) is None
        monkeypatch.setattr(compiling, "TemporaryFile", refuse)
        assert set_compile_cache(Options(compile_cache=str(tmp_path))) is None
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    assert [line["option"] for line in logs] == ["compile_cache"] * 2
    assert not any("/" in line["why"] for line in logs), "the log is no place for paths"


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
        assert compile_blocks(model, backend="eager") == 2
        second = Calls(model.blocks[1])
        (compiled,) = model(**inputs)
    assert torch.allclose(eager, compiled, atol=1e-5)
    assert second.count == 1, "hooks stay outside of what is compiled"
    assert counters["stats"]["unique_graphs"] == 1, "one graph for both"


def test_every_size_runs_through_the_same_graph(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend, graphs = load_wan("wan21_t2v"), Graphs()

    def frames(**values: Any) -> Any:
        shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=1, **values)
        return generate(backend, shot, RecordingContext(tmp_path))

    eager = frames()
    compile_blocks(*backend.loaded_engine.loaded.denoisers, backend=graphs)
    with capture_logs() as logs:
        before = frames()
        for width, height, num_frames in [(64, 64, 5), (64, 96, 9), (128, 64, 13), (64, 64, 17)]:
            frames(width=width, height=height, num_frames=num_frames, guidance_scale=1.0)
        after = frames()
    assert not [line for line in logs if line["log_level"] == "warning"]
    assert graphs.count == 1, "for ever so many sizes, with guidance and without"
    assert (before == after).all(), "a job's result doesn't depend on the jobs before it"
    assert np.abs(before.astype(int) - eager.astype(int)).max() <= 1


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)  # in inductor
def test_code_for_the_cpu_gives_the_same_bits_before_and_after_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It takes longer than what it is for.
    monkeypatch.setattr(import_module("torch._inductor.config"), "cpp_cache_precompile_headers", False)
    model = Model(blocks=1)
    eager = model(16)
    compile_blocks(model, backend="inductor")
    with capture_logs() as logs:
        before = model(16)
        model(8)  # as many rows as columns
        model(24)
        assert torch.equal(before, model(16))
    assert torch.allclose(before, eager, atol=1e-6)
    assert not logs


def test_models_that_come_and_go_leave_nothing_and_reach_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MAX_GRAPHS", 2)
    weights: list[weakref.ref[Any]] = []
    for _ in range(4):
        model, graphs = Model(), Graphs()
        compile_blocks(model, backend=graphs)
        with capture_logs() as logs:
            for rows in (3, 4, 5, 6):
                model(rows, conditions=1)
                model(rows, conditions=rows)
        assert graphs.count == 2
        assert not logs
        weights += [weakref.ref(parameter) for parameter in model.parameters()]
        del model
        gc.collect()
    assert not [weight for weight in weights if weight() is not None]


@pytest.mark.parametrize(
    "error", [RuntimeError("no such kernel\n/srv/a/path"), FileNotFoundError(2, "x", "/srv/a")]
)
def test_what_does_not_compile_runs_uncompiled_with_one_warning(error: Exception) -> None:
    models = Model(), Model()
    eager = [model(4) for model in models]
    compile_blocks(*models, backend=failing(error))
    with capture_logs() as logs:
        for _ in range(2):
            assert all(torch.equal(model(4), wanted) for model, wanted in zip(models, eager, strict=True))
    (line,) = logs
    assert (line["log_level"], line["event"], line["option"]) == ("warning", "option_unused", "compile")
    assert type(error).__name__ in line["why"]
    assert "/srv" not in line["why"], "the log is no place for paths"


def test_beyond_the_limit_of_graphs_a_job_goes_on_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MAX_GRAPHS", 1)
    model = Model()
    compile_blocks(model, backend="eager")
    with capture_logs() as logs:
        model(4, conditions=1)
        assert torch.equal(model(4, conditions=4), Model.forward(model, 4, 4))
    assert [line["event"] for line in logs] == ["option_unused"]


def test_a_job_whose_model_does_not_compile_succeeds(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    backend = load_wan("wan22_a14b_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=3)
    wanted = generate(backend, shot, RecordingContext(tmp_path))
    compile_blocks(*backend.loaded_engine.loaded.denoisers, backend=failing(ValueError("no compiler")))
    with capture_logs() as logs:
        assert (generate(backend, shot, RecordingContext(tmp_path)) == wanted).all()
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["option_unused"]


@pytest.mark.parametrize(
    "error", [ValueError("the model's own"), JobCancelled("stop"), torch.OutOfMemoryError()]
)
def test_errors_of_the_model_itself_are_raised_and_it_stays_compiled(error: Exception) -> None:
    model, graphs = Model(blocks=1), Graphs()
    block = model.blocks[0]
    assert isinstance(block, Block)
    compile_blocks(model, backend=graphs)
    block.error = error
    with capture_logs() as logs, pytest.raises(type(error)):
        model(4)
    block.error = None
    model(4)
    assert graphs.ran, "it was compiled after all"
    assert not logs


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_memory_that_runs_out_while_compiling_is_no_reason_to_run_uncompiled(error: Exception) -> None:
    model = Model(blocks=1)
    compile_blocks(model, backend=failing(error))
    with capture_logs() as logs, pytest.raises(type(error)):
        model(4)
    assert not logs


def test_memory_that_runs_out_while_compiling_fails_the_job(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    backend = load_wan("wan21_t2v")
    error = torch.OutOfMemoryError("CUDA out of memory")
    compile_blocks(*backend.loaded_engine.loaded.denoisers, backend=failing(error))
    with capture_logs() as logs, pytest.raises(OutOfMemory, match="denoising"):
        generate(backend, SHOT, RecordingContext(tmp_path))
    assert not [line for line in logs if line["event"] == "option_unused"]


def test_compiling_can_be_undone() -> None:
    model, graphs = Model(), Graphs()
    compile_blocks(model, backend=graphs)
    model(4)
    restore_eager(model)
    assert not any("forward" in vars(block) for block in model.blocks)
    graphs.ran.clear()
    model(4)
    assert not graphs.ran
    compile_blocks(model, backend=graphs)
    model(4)
    assert graphs.ran == [1, 1]
