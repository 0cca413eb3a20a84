"""Which attention kernel is used, and for which calls."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from structlog.testing import capture_logs

from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.loading import attention
from framegate.plugins.diffusers.loading.attention import exact_backends, set_attention_backend
from framegate.plugins.diffusers.loading.attention_probe import (
    MAX_TOKENS,
    AttentionShape,
    Comparison,
    attention_shape,
    check_compiles,
    fastest_backend,
)
from framegate.plugins.diffusers.loading.hub_kernels import KernelUnavailableError
from framegate.plugins.diffusers.loading.probes import Decisions
from framegate.plugins.diffusers.options import AttentionKernel, Options
from tests.support.stand_in_kernel import write_kernel
from tests.support.tiny_models import IMAGE_SHOT, AnyWanBackend, Calls, LoadTiny, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread", "registry")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
StandIn = Callable[[str, Callable[..., Any]], None]
SHAPE = AttentionShape(heads=2, head_widths=(16,), tokens=64, dtype=torch.float32)
dispatch: Any = attention_dispatch
dynamo: Any = import_module("torch._dynamo")
attend: Any = dispatch_attention_fn
_REGISTRY: Any = dispatch._AttentionBackendRegistry


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers' backends, brought back afterwards as they are now."""
    for name in ("_backends", "_supported_arg_names"):
        monkeypatch.setattr(_REGISTRY, name, dict(getattr(_REGISTRY, name)))
    monkeypatch.setattr(_REGISTRY, "_active_backend", _REGISTRY._active_backend)
    for kernel in dispatch._HUB_KERNELS_REGISTRY.values():
        for name in ("kernel_fn", "wrapped_forward_fn", "wrapped_backward_fn"):
            monkeypatch.setattr(kernel, name, None)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a function in the place of a backend of diffusers."""

    def put(name: str, kernel: Callable[..., Any]) -> None:
        monkeypatch.setitem(_REGISTRY._backends, AttentionBackendName(name), kernel)

    return put


def native(**named: Any) -> Any:
    return dispatch._native_attention(**named)


def native_times(factor: float) -> Callable[..., Any]:
    def kernel(**named: Any) -> Any:
        return native(**named) * factor

    return kernel


def set_backend(model: Any, tmp_path: Path, *, compiled: bool = False, **options: Any) -> str:
    return set_attention_backend(
        [model],
        Options(**options),
        CPU,
        torch.float32,
        tokens=64,
        compiled=compiled,
        decisions=Decisions(tmp_path),
    )


@pytest.mark.parametrize(
    ("capability", "installed", "backends"),
    [
        ((9, 0), {"flash_3"}, ["_flash_3", "_native_cudnn", "_native_flash", "native"]),
        ((9, 0), {"kernels"}, ["_flash_3_hub", "_native_cudnn", "_native_flash", "native"]),
        ((9, 0), set[str](), ["_native_cudnn", "_native_flash", "native"]),
        ((10, 0), {"flash_3", "kernels"}, ["_native_cudnn", "_native_flash", "native"]),
        ((8, 9), {"kernels"}, ["_native_cudnn", "_native_flash", "native"]),
        ((7, 5), {"flash_3", "kernels"}, ["native"]),
    ],
)
def test_the_kernels_to_compare_go_with_the_card_and_the_packages(
    capability: tuple[int, int], installed: set[str], backends: list[str]
) -> None:
    offered = exact_backends(
        capability, cudnn=True, flash_3="flash_3" in installed, kernels="kernels" in installed
    )
    assert list(offered) == backends


def test_an_unknown_attention_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'attention: "flush" is not .*; did you mean flash\?'):
        parse_table("options", {"attention": "flush"}, Options)


def test_the_options_name_every_backend_of_diffusers() -> None:
    assert {"auto", *(name.value for name in AttentionBackendName)} == set(get_args(AttentionKernel))


@pytest.mark.parametrize(
    ("model", "heads", "widths"),
    [("wan21_t2v", 2, (12,)), ("ltx2", 2, (8, 4)), ("qwen_image", 2, (16,)), ("flux_kontext", 2, (16,))],
)
def test_kernels_are_compared_at_the_shape_of_the_model(
    model: str, heads: int, widths: tuple[int, ...]
) -> None:
    transformer = testing.build(model).transformer
    shape = attention_shape([transformer], 75_600, torch.bfloat16)
    assert shape == AttentionShape(heads, widths, MAX_TOKENS, torch.bfloat16)


def compare(times: dict[str, float], **options: Any) -> Comparison:
    """Compare the backends of ``times`` by a stopwatch that tells these."""
    left = iter(times.values())

    def seconds(run: Callable[[], object]) -> float:
        run()
        return next(left)

    settings: dict[str, Any] = {"prepare": str, "compiled": False, **options}
    candidates = settings.pop("candidates", [*times])
    return fastest_backend(candidates, SHAPE, CPU, seconds, **settings)


def test_the_fastest_kernel_is_taken() -> None:
    assert compare({"native": 1.0, "_native_flash": 0.5, "_native_math": 0.7}).fastest == "_native_flash"
    assert compare({"native": 1.0, "_native_flash": 0.99}).fastest == "native", "noise decides nothing"
    assert compare({"native": 1.0, "_native_math": 2.0}).fastest == "native"


def test_a_kernel_that_fails_or_computes_something_else_is_out(stand_in: StandIn) -> None:
    def broken(**named: Any) -> Any:
        raise AssertionError("no such instruction")

    stand_in("_flash_3", broken)
    stand_in("flash", native_times(1.01))
    stand_in("sage", native_times(float("nan")))
    stand_in("xformers", native)
    left = iter([1.0, 0.9])
    with capture_logs() as logs:
        compared = fastest_backend(
            ["_flash_3", "flash", "sage", "aiter_fa2_hub", "xformers", "native"],
            SHAPE,
            CPU,
            lambda _: next(left),
            prepare=unavailable_aiter,
            compiled=False,
        )
    assert compared.fastest == "xformers"
    (line,) = logs
    assert line["milliseconds"] == {"native": 1000.0, "xformers": 900.0}
    assert not compared.lasting, "what isn't here may be at the next start"
    assert line["out"] == compared.out
    assert line["out"] == {
        "_flash_3": "no such instruction",
        "flash": "its results deviate by 0.01",
        "sage": "its results deviate by inf",
        "aiter_fa2_hub": "not here",
    }


def unavailable_aiter(name: str) -> None:
    if name == "aiter_fa2_hub":
        raise KernelUnavailableError("not here")


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (MemoryError(), False),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), False),
        (KernelUnavailableError("no hub"), False),
        (RuntimeError("not on this card"), True),
        (AssertionError(), True),
    ],
)
def test_what_failed_for_a_passing_reason_decides_nothing_for_good(error: Exception, lasting: bool) -> None:
    def prepare(name: str) -> None:
        raise error

    compared = compare({"native": 1.0}, candidates=["_native_flash"], prepare=prepare)
    assert (compared.fastest, compared.lasting) == ("native", lasting)
    assert set(compared.out) == {"_native_flash"}


def test_a_kernel_that_the_compiler_cannot_take_is_out_where_blocks_are_compiled(
    stand_in: StandIn,
) -> None:
    def untraceable(**named: Any) -> Any:
        return native(**named) * float(named["query"].sum() > 0 or 1)

    stand_in("xformers", untraceable)
    assert compare({"native": 1.0, "xformers": 0.5}).fastest == "xformers"
    assert compare({"native": 1.0, "xformers": 0.5}, compiled=True).fastest == "native"
    with dynamo.config.patch(recompile_limit=1):
        for _ in range(2):  # as often as models are loaded
            check_compiles("_native_flash", CPU, SHAPE)


def test_a_requested_kernel_that_the_compiler_cannot_take_is_replaced_in_compiled_blocks(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untraceable(**named: Any) -> Any:
        return native(**named) * float(named["query"].sum() > 0 or 1)

    stand_in("xformers", untraceable)
    monkeypatch.setattr(attention_dispatch, "_CAN_USE_XFORMERS_ATTN", True)
    model = testing.build("wan21_t2v").transformer
    assert set_backend(model, tmp_path, attention="xformers") == "xformers"
    with capture_logs() as logs:
        assert set_backend(model, tmp_path, attention="xformers", compiled=True) == "native"
    (warning,) = (line for line in logs if line["log_level"] == "warning")
    assert (warning["option"], warning["requested"]) == ("attention", "xformers")
    assert "options.compile" in warning["why"]


def test_what_was_measured_is_remembered_where_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Comparison] = []

    def fastest(*arguments: Any, **named: Any) -> Comparison:
        return measured.pop(0)

    def hopper(device: torch.device) -> tuple[int, int]:
        return 9, 0

    monkeypatch.setattr(attention, "fastest_backend", fastest)
    monkeypatch.setattr(attention, "describe_card", str)
    monkeypatch.setattr(attention, "release", str)
    monkeypatch.setattr(torch.cuda, "get_device_capability", hopper)

    def choose(dtype: torch.dtype = torch.bfloat16) -> str:
        shape = AttentionShape(40, (128,), 32_760, dtype)
        name, _ = attention.choose_backend(
            shape, Options(), CUDA, compiled=True, decisions=Decisions(tmp_path)
        )
        return name

    measured.append(Comparison("_native_flash", {"_flash_3_hub": "no hub"}, lasting=False))
    assert choose() == "_native_flash"
    measured.append(Comparison("_flash_3_hub", {"_native_cudnn": "not on this card"}, lasting=True))
    assert choose() == "_flash_3_hub"
    assert choose() == "_flash_3_hub", "measured once"
    measured.append(Comparison("_native_flash", {}, lasting=True))
    assert choose(torch.float16) == "_native_flash"
    assert choose(torch.float32) == "native"


def test_a_kernel_from_a_folder_computes_attention(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO)
    plain = generate(load_wan("wan21_t2v"), shot, RecordingContext(tmp_path))
    kernels = write_kernel(tmp_path / "kernels")
    backend = load_wan("wan21_t2v", attention="_flash_3_hub", attention_kernels=str(kernels))
    assert backend.loaded_engine.loaded.attention == "_flash_3_hub"
    kernel = dispatch._HUB_KERNELS_REGISTRY[AttentionBackendName("_flash_3_hub")].kernel_fn
    assert kernel is not None
    calls: list[Any] = kernel.__globals__["calls"]
    calls.clear()
    frames = generate(backend, shot, RecordingContext(tmp_path))
    # Two blocks with self- and cross-attention, twice a step for guidance, in two steps.
    assert len(calls) == 2 * 2 * 2 * 2
    assert np.abs(frames.astype(int) - plain).max() <= 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"attention": "_flash_3_hub"}, "kernels are downloaded for CUDA only, and the device is cpu"),
        ({"attention": "_flash_3"}, "_flash_3 needs CUDA and the device is cpu"),
        ({"attention": "sage"}, "sage needs CUDA and the device is cpu"),
        ({"attention": "_native_cudnn"}, "_native_cudnn needs CUDA and the device is cpu"),
        (
            {"attention": "_flash_3_hub", "attention_kernels": "/nowhere"},
            "options.attention_kernels has no folder kernels-community/flash-attn3",
        ),
    ],
)
def test_a_backend_that_cannot_run_here_is_replaced_by_pytorchs(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    with capture_logs() as logs:
        assert set_backend(testing.build("wan21_t2v").transformer, tmp_path, **options) == "native"
    warning = next(line for line in logs if line["event"] == "option_unused")
    assert warning["why"].startswith(why)
    assert warning["requested"] == options["attention"]


def test_a_model_that_never_asks_for_a_backend_is_left_alone(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert set_backend(testing.build("sdxl").unet, tmp_path, attention="_native_flash") == "native"
    assert [line["event"] for line in logs] == ["option_unused"]


def test_other_models_keep_their_attention(tmp_path: Path) -> None:
    before = _REGISTRY.get_active_backend()
    assert set_backend(testing.build("wan21_t2v").transformer, tmp_path, attention="_native_flash")
    assert _REGISTRY.get_active_backend() == before


@pytest.mark.parametrize("backend", ["_native_flash", "_flash_3_hub"])
def test_masks_that_a_kernel_refuses_are_computed_by_pytorch(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path, backend: str
) -> None:
    kernels = write_kernel(tmp_path / "kernels")
    frames: dict[str, Any] = {}
    for name in ("native", backend):
        options = {"attention": name, "attention_kernels": str(kernels)}
        with capture_logs() as logs:
            model = load_images("qwen_image", **options)
        assert model.loaded_engine.loaded.attention == name
        transformer = model.loaded_engine.pipeline.transformer
        transformer.register_forward_pre_hook(_pad_text, with_kwargs=True)
        with Calls(transformer) as calls:
            frames[name] = generate(model, IMAGE_SHOT, RecordingContext(tmp_path))
        assert calls.count == 2 * IMAGE_SHOT.num_inference_steps
        assert sum(line["event"] == "attention_masks" for line in logs) == (name != "native")
    assert np.array_equal(frames["native"], frames[backend])


def _pad_text(
    module: object, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Add a token that the mask leaves out, as the pipeline does where prompts differ in length."""
    text = named["encoder_hidden_states"]
    padded = torch.cat([text, torch.full_like(text[:, :1], 9.0)], dim=1)
    mask = torch.ones(padded.shape[:2], dtype=torch.bool)
    mask[:, -1] = False
    return arguments, {**named, "encoder_hidden_states": padded, "encoder_hidden_states_mask": mask}


def test_a_kernel_that_ignores_masks_gets_none(tmp_path: Path, stand_in: StandIn) -> None:
    def ignoring(attn_mask: Any = None, **named: Any) -> Any:
        return native(**named)

    stand_in("xformers", ignoring)
    masked: dict[str, Any] = {"attn_mask": torch.tensor([True, False]).view(1, 1, 1, 2)}
    tokens = [torch.randn(1, 2, 2, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    wanted = attend(*tokens, backend=AttentionBackendName.NATIVE, **masked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_dispatch, "_CAN_USE_XFORMERS_ATTN", True)
        assert (
            set_backend(testing.build("wan21_t2v").transformer, tmp_path, attention="xformers") == "xformers"
        )
    for masks in (masked, {"attn_mask": torch.tensor([0.0, -1e9]).view(1, 1, 1, 2)}):
        assert torch.equal(attend(*tokens, backend=AttentionBackendName.XFORMERS, **masks), wanted)
    assert not torch.equal(attend(*tokens, backend=AttentionBackendName.XFORMERS), wanted)


def test_masks_of_every_model_are_sent_to_pytorch(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn) -> None:
    refused: dict[torch.dtype, tuple[torch.dtype, ...]] = {
        torch.bfloat16: (torch.bfloat16,),
        torch.float16: (torch.bool, torch.float16),
    }

    def kernel(attn_mask: Any = None, **named: Any) -> Any:
        if attn_mask is not None and attn_mask.dtype in refused[named["query"].dtype]:
            raise ValueError("`attn_mask` is not supported for flash-attn")
        return native(attn_mask=attn_mask, **named)

    stand_in("_flash_3", kernel)
    monkeypatch.setattr(dispatch, "_check_attention_backend_requirements", str)
    for dtype in refused:
        shape = AttentionShape(2, (16,), 64, dtype)
        attention.prepare_backend("_flash_3", shape, Options(), CPU)
    for dtype in refused:
        tokens = [torch.ones((1, 8, 2, 16), dtype=dtype)] * 3
        for mask in (torch.zeros(1, 1, 1, 8, dtype=dtype), torch.ones(1, 1, 1, 8, dtype=torch.bool)):
            assert torch.equal(
                attend(*tokens, backend=AttentionBackendName("_flash_3"), attn_mask=mask), tokens[0]
            )


def test_masks_are_sent_to_pytorch_within_one_graph(tmp_path: Path) -> None:
    transformer = testing.build("qwen_image").transformer
    assert set_backend(transformer, tmp_path, attention="_native_flash") == "_native_flash"
    backend = AttentionBackendName("_native_flash")

    def block(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = attend(tokens, tokens, tokens, attn_mask=mask, backend=backend)
        return result

    traced = torch.compile(block, fullgraph=True, backend="eager")
    tokens, mask = torch.randn(1, 8, 2, 16), torch.ones(1, 1, 1, 8, dtype=torch.bool)
    assert torch.allclose(traced(tokens, mask), traced(tokens, None), atol=1e-6)
