"""Quantised weights."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from diffusers import ZImageTransformer2DModel
from peft import LoraConfig
from structlog.testing import capture_logs
from torch import nn

from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.loading import pipelines, quantization
from framegate.plugins.diffusers.loading.compiling import compile_blocks
from framegate.plugins.diffusers.loading.host_memory import plain_tensors
from framegate.plugins.diffusers.loading.quantization import quantize
from framegate.plugins.diffusers.options import Options
from tests.support.tiny_models import AnyWanBackend, LoadTiny, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-weights", "fp8-layerwise"])
def test_quantised_weights_give_nearly_the_same(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, kind: str
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, guidance_scale=1.0)
    exact = generate(load_wan("wan21_t2v"), shot, RecordingContext(tmp_path)).astype(float)
    near = generate(load_wan("wan21_t2v", quantize=kind), shot, RecordingContext(tmp_path)).astype(float)
    assert (exact != near).any(), "it is not exact"
    assert np.abs(exact - near).mean() < 12


def z_image() -> ZImageTransformer2DModel:
    """A transformer whose lists of blocks have other names than "blocks"."""
    return ZImageTransformer2DModel(
        in_channels=4,
        dim=64,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[8, 12, 12],
    )


def nothing(*_: object) -> None:
    return


def always(*_: object) -> bool:
    return True


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(cast("Any", model).named_modules())  # untyped in torch


def quantized_layers(model: nn.Module) -> set[str]:
    """The names of the linear layers in ``model`` whose weights are stored in eight bits."""
    return {
        name
        for name, module in named_modules(model)
        if isinstance(module, nn.Linear)
        and all(
            part.element_size() == 1
            for weight in module.parameters()
            if weight.dim() == 2
            for part in list(plain_tensors(weight))[:1]
        )
    }


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-layerwise"])
def test_blocks_are_found_by_structure(kind: Literal["int8-weights", "fp8-layerwise"]) -> None:
    model: Any = z_image()
    blocks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(("layers.", "noise_refiner.", "context_refiner."))
    ]
    quantize(model, Options(quantize=kind), CPU, torch.float32, CPU)
    assert quantized_layers(model) == set(blocks)


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-layerwise"])
def test_what_lies_outside_of_the_blocks_keeps_its_precision(
    kind: Literal["int8-weights", "fp8-layerwise"],
) -> None:
    model: Any = testing.build("wan21_i2v").transformer
    assert model.condition_embedder.image_embedder is not None
    quantize(model, Options(quantize=kind), CPU, torch.float32, CPU)
    assert {name.partition(".")[0] for name in quantized_layers(model)} == {"blocks"}


def can_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU pass for a card that multiplies in eight bits."""

    def supported(kind: str, device: torch.device) -> str:
        return ""

    monkeypatch.setattr(quantization, "_why_unsupported", supported)


def multiplies(module: nn.Module) -> bool:
    """Return whether a layer multiplies in eight bits, not only stores its weight in them."""
    return getattr(getattr(module, "weight", None), "act_quant_kwargs", None) is not None


@pytest.mark.parametrize("name", ["qwen_image", "flux_kontext"])
def test_no_layer_multiplies_fewer_rows_of_int8_than_cublas_takes(
    monkeypatch: pytest.MonkeyPatch,
    load_images: LoadTiny[ImagesBackend],
    tmp_path: Path,
    image: Path,
    name: str,
) -> None:
    can_multiply(monkeypatch)
    backend = load_images(name, quantize="int8")
    rows: dict[str, int] = {}

    def record(layer: str, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        rows[layer] = arguments[0].numel() // arguments[0].shape[-1]

    for layer, module in backend.loaded_engine.pipeline.transformer.named_modules():
        if multiplies(module):
            module.register_forward_pre_hook(partial(record, layer))
    task = Task.IMAGE_TO_IMAGE if name == "flux_kontext" else Task.TEXT_TO_IMAGE
    shot = small_shot(task, num_frames=1, fps=0.0, guidance_scale=1.0)
    generate(backend, shot, RecordingContext(tmp_path, image=image))
    assert rows
    assert not {layer for layer, count in rows.items() if count <= 16}


def test_what_conditions_blocks_is_stored_in_int8_and_multiplied_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    can_multiply(monkeypatch)
    model: Any = z_image()
    quantize(model, Options(quantize="int8"), CPU, torch.float32, CPU)
    block = model.layers[0]
    assert multiplies(block.attention.to_q)
    assert not multiplies(block.adaLN_modulation[0])
    assert "layers.0.adaLN_modulation.0" in quantized_layers(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_fp8_takes_weights_of_every_dtype(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    can_multiply(monkeypatch)
    quant_api: Any = import_module("torchao.quantization.quant_api")
    monkeypatch.setattr(quant_api, "is_sm_at_least_89", lambda: True)
    monkeypatch.setattr(quant_api, "_check_hardware_support", nothing)
    layer = nn.Linear(32, 32, dtype=dtype)
    quantize(nn.Sequential(nn.ModuleList([layer])), Options(quantize="fp8"), CPU, dtype, CPU)
    weight: Any = layer.weight
    assert multiplies(layer)
    assert (weight.dtype, weight.scale.numel()) == (dtype, 32 if dtype == torch.bfloat16 else 1)


def test_falling_back_from_compiling_warns_likewise(
    monkeypatch: pytest.MonkeyPatch, load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    def fail(graph: object, inputs: object) -> Any:
        raise ValueError("no compiler")

    can_multiply(monkeypatch)
    monkeypatch.setattr(pipelines, "should_compile", always)
    monkeypatch.setattr(pipelines, "set_compile_cache", str)
    monkeypatch.setattr(pipelines, "compile_blocks", partial(compile_blocks, backend=fail))
    with capture_logs() as logs:
        backend = load_wan("wan21_t2v", quantize="int8")
        assert not [line for line in logs if line["event"] == "option_slow"]
        shot = small_shot(Task.TEXT_TO_VIDEO, guidance_scale=1.0)
        generate(backend, shot, RecordingContext(tmp_path))
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "option_unused",
        "option_slow",
    ]


def test_a_model_with_nothing_to_quantise_says_so() -> None:
    with capture_logs() as logs:
        quantize(nn.Sequential(nn.Linear(8, 8)), Options(quantize="int8-weights"), CPU, torch.float32, CPU)
    assert [(line["option"], line["log_level"]) for line in logs] == [("quantize", "warning")]


class RecordingMoves:
    """Stands for ``torch.nn.Module.to``: moves nothing, and keeps count of the bytes that would be away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away: set[nn.Module] = set()
        self.peak = 0

        def to(module: nn.Module, device: torch.device) -> nn.Module:
            change = self.away.update if device.type == "meta" else self.away.difference_update
            change(module.modules())
            self.peak = max(self.peak, self.bytes_away())
            return module

        monkeypatch.setattr(nn.Module, "to", to)

    def bytes_away(self) -> int:
        """Return the bytes of the weights that are away now."""
        weights = {weight for module in self.away for weight in module.parameters(recurse=False)}
        return sum(part.nbytes for weight in weights for part in plain_tensors(weight))


@pytest.mark.parametrize("home", ["cpu", "meta"])
def test_one_layer_at_a_time_is_quantised_on_the_device(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    options = Options(quantize="int8-weights")
    pipeline = testing.build("wan22_a14b_t2v")
    moves = RecordingMoves(monkeypatch)
    layers = [
        module
        for expert in (pipeline.transformer, pipeline.transformer_2)
        for module in expert.blocks.modules()
        if isinstance(module, nn.Linear)
    ]
    whole = sum(weight.nbytes for layer in layers for weight in layer.parameters())
    largest = max(sum(weight.nbytes for weight in layer.parameters()) for layer in layers)
    for expert in (pipeline.transformer, pipeline.transformer_2):
        quantize(expert, options, torch.device("meta"), torch.float32, torch.device(home))
    quantized = sum(
        part.nbytes for one in layers for weight in one.parameters() for part in plain_tensors(weight)
    )
    assert quantized < 0.6 * whole
    if home == "cpu":
        assert (moves.peak, moves.bytes_away()) == (largest, 0)
    else:
        assert moves.bytes_away() == quantized
        assert moves.peak <= quantized + largest


def test_layers_stored_in_eight_bits_are_compiled(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend = load_wan("wan21_t2v", quantize="fp8-layerwise")
    (transformer,) = backend.loaded_engine.loaded.denoisers
    dtypes = {name: weight.dtype for name, weight in transformer.named_parameters()}
    assert dtypes["blocks.0.ffn.net.2.stored"] == torch.float8_e4m3fn
    assert {
        dtypes[f"blocks.0.{name}"] for name in ("scale_shift_table", "norm2.weight", "attn1.norm_q.weight")
    } == {torch.float32}, "what diffusers leaves alone"
    assert transformer.dtype == torch.float32
    shot = small_shot(Task.TEXT_TO_VIDEO, guidance_scale=1.0)
    eager = generate(backend, shot, RecordingContext(tmp_path)).astype(int)
    compile_blocks(transformer, backend="eager")
    with capture_logs() as logs:
        compiled = generate(backend, shot, RecordingContext(tmp_path)).astype(int)
    assert not [line for line in logs if line["log_level"] == "warning"], "nothing fell back to eager"
    assert np.abs(eager - compiled).max() <= 1
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    loras = {weight.dtype for name, weight in transformer.named_parameters() if "lora" in name}
    assert loras == {torch.float32}, "a LoRA of its own is not rounded to eight bits"


@pytest.mark.parametrize(
    ("kind", "multiplied", "slow"),
    [("int8", True, True), ("int8", False, False), ("fp8", False, False), ("fp8-weights", False, False)],
)
def test_quantising_without_compiling_warns(
    monkeypatch: pytest.MonkeyPatch,
    load_wan: LoadTiny[AnyWanBackend],
    kind: str,
    multiplied: bool,
    slow: bool,
) -> None:
    if multiplied:
        can_multiply(monkeypatch)
    with capture_logs() as logs:
        load_wan("wan21_t2v", quantize=kind)
    warnings = [line for line in logs if line["event"] == "option_slow"]
    assert [(line["log_level"], line["requested"]) for line in warnings] == [("warning", kind)] * slow
    assert all("slower" in line["why"] and "'none'" in line["remedy"] for line in warnings)
