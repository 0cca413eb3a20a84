"""Weights whose master copy stays in host memory."""

from collections.abc import Callable
from typing import Any

import gguf
import pytest
import torch
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch._dynamo.utils import counters
from torchao import quantization  # pyright: ignore[reportMissingTypeStubs] # ships no types

from framegate.plugins.diffusers.loading.hosted_weights import HostedWeights
from framegate.plugins.diffusers.loading.quantization import recipe

CPU, META = torch.device("cpu"), torch.device("meta")


class Block(nn.Module):
    """A block as in a transformer: linear layers, a parameter of its own, a buffer, and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_out = nn.Linear(32, 32), nn.Linear(32, 32)
        self.tied = nn.Linear(32, 32)
        self.tied.weight = self.to_out.weight
        self.table = nn.Parameter(torch.randn(32), requires_grad=False)
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.full((32,), 0.5))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return as many tokens as ``hidden`` has."""
        out: torch.Tensor = self.tied(torch.relu(self.to_out(self.to_q(hidden))))
        return out * self.scale + self.table


def plain() -> Block:
    torch.manual_seed(0)
    return Block().eval()


def quantized(kind: str) -> Block:
    block = plain()
    quantization.quantize_(block, recipe(kind, torch.float32))
    return block


def from_gguf() -> Block:
    block = plain()
    packed = gguf.quants.quantize(block.to_q.weight.detach().numpy(), gguf.GGMLQuantizationType.Q8_0)
    linear: Any = GGUFLinear(32, 32, bias=False, compute_dtype=torch.float32)
    parameter: Any = GGUFParameter  # pyright takes its signature for that of torch's own
    linear.weight = parameter(torch.from_numpy(packed), quant_type=gguf.GGMLQuantizationType.Q8_0)
    block.to_q = linear
    return block


KINDS: dict[str, Callable[[], Block]] = {
    "plain": plain,
    "int8-weights": lambda: quantized("int8-weights"),
    "fp8-weights": lambda: quantized("fp8-weights"),
    "int8": lambda: quantized("int8"),
    "gguf": from_gguf,
}
HIDDEN = torch.ones(2, 32)


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_master_comes_back_as_it_was(kind: str) -> None:
    block = KINDS[kind]()
    expected, before = block(HIDDEN), tensors(block)
    weights = HostedWeights(block, META)
    weights.onload()
    assert {tensor.device for tensor in tensors(block).values()} == {META}
    if kind == "plain":  # torchao unties weights
        assert block.tied.weight is block.to_out.weight
    for name, tensor in tensors(block).items():
        assert type(tensor) is type(before[name]), name
        assert (tensor.dtype, tensor.requires_grad) == (before[name].dtype, before[name].requires_grad)
    weights.offload()
    after = tensors(block)
    assert all(after[name] is tensor for name, tensor in before.items())
    assert torch.equal(block(HIDDEN), expected)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_copy_gives_the_same(kind: str) -> None:
    block = KINDS[kind]()
    expected = block(HIDDEN)
    HostedWeights(block, CPU).onload()
    assert torch.equal(block(HIDDEN), expected)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_compiled_blocks_are_compiled_once(kind: str) -> None:
    torch.compiler.reset()
    counters.clear()
    block = KINDS[kind]()
    expected = block(HIDDEN)
    block.forward = torch.compile(block.forward, fullgraph=kind != "gguf", backend="eager")  # type: ignore[method-assign] # as diffusers does
    weights = HostedWeights(block, CPU)
    for _ in range(3):
        weights.onload()
        assert torch.equal(block(HIDDEN), expected)
        weights.offload()
    assert counters["stats"]["unique_graphs"] == 1


@torch.no_grad()
def test_an_adapter_that_is_added_later_moves_with_the_weights() -> None:
    block = plain()
    weights = HostedWeights(block, META)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"]), block)
    for _ in range(2):
        weights.onload()
        assert {tensor.device for tensor in tensors(block).values()} == {META}
        weights.offload()
        assert {tensor.device for tensor in tensors(block).values()} == {CPU}


@torch.no_grad()
def test_an_adapter_that_is_added_on_the_device_stays() -> None:
    block = plain()
    before = tensors(block)
    weights = HostedWeights(block, CPU)
    weights.onload()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), block)
    expected = block(HIDDEN)
    weights.offload()
    layer: Any = block.to_q
    assert layer.base_layer.weight is before["to_q.weight"]
    weights.onload()
    assert torch.equal(block(HIDDEN), expected)


def test_what_fails_half_way_leaves_nothing_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    block = plain()
    before = tensors(block)
    weights = HostedWeights(block, META)
    made: list[object] = []
    empty = torch.empty_like

    def full(*arguments: Any, **named: Any) -> torch.Tensor:
        made.append(arguments)
        if len(made) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return empty(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "empty_like", full)
        with pytest.raises(torch.OutOfMemoryError):
            weights.onload()
    assert all(tensors(block)[name] is tensor for name, tensor in before.items())
    weights.onload()
    assert {tensor.device for tensor in tensors(block).values()} == {META}


@torch.no_grad()
def test_a_dtype_that_is_changed_for_a_moment_is_changed_back() -> None:
    block = plain().to(torch.bfloat16)
    expected = block(HIDDEN.to(torch.bfloat16))
    weights = HostedWeights(block, CPU)
    block.to(torch.float32)  # as pipelines do before they decode
    weights.onload()
    assert block(HIDDEN).dtype == torch.float32
    block.to(torch.bfloat16)
    weights.offload()
    assert {tensor.dtype for tensor in tensors(block).values()} == {torch.bfloat16}
    assert torch.equal(block(HIDDEN.to(torch.bfloat16)), expected)


def test_parts_can_be_left_out() -> None:
    model = nn.Sequential(plain(), plain())
    HostedWeights(model, META, without=[model[1]]).onload()
    assert {tensor.device for tensor in tensors(model[0]).values()} == {META}
    assert {tensor.device for tensor in tensors(model[1]).values()} == {CPU}
