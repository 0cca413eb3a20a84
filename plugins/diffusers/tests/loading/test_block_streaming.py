"""Blocks that are streamed to the device."""

from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from framegate.plugins.diffusers.loading import block_streaming
from framegate.plugins.diffusers.loading.block_streaming import StreamedBlocks
from framegate.plugins.diffusers.loading.compiling import compile_blocks

NUM_BLOCKS = 4


class Block(nn.Module):
    """A block as a transformer repeats it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return as many tokens as ``hidden`` has."""
        return hidden + torch.relu(self.linear(hidden))


class Transformer(nn.Sequential):
    """Blocks that are compiled."""

    _repeated_blocks = ("Block",)


@torch.no_grad()
def test_streamed_blocks_are_compiled_whole_and_once() -> None:
    model = Transformer(*(Block() for _ in range(NUM_BLOCKS)))
    hidden = torch.ones(2, 5, 8)
    expected = model(hidden)
    held = StreamedBlocks(list(model), torch.device("cpu"))
    torch.compiler.reset()
    counters.clear()
    compile_blocks(model, backend="eager")
    for _ in range(3):
        assert torch.equal(model(hidden), expected)
        held.offload()
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


class Recorder:
    """Stands for the weights of a block: records in ``log`` what happens to them."""

    def __init__(self, block: nn.Linear, device: torch.device) -> None:
        self.name = str(block.in_features - 1)
        self.onloaded = False

    def onload(self, stream: object = None) -> None:
        self.onloaded = True
        log.append(f"copy {self.name}")

    def offload(self) -> None:
        if self.onloaded:
            log.append(f"free {self.name}")
        self.onloaded = False


class FakeStream:
    """A CUDA stream that records what waits for what."""

    def __init__(self, name: str, device: torch.device | None = None) -> None:
        self.name = name

    def wait_stream(self, other: "FakeStream") -> None:
        log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: str) -> None:
        log.append(f"{self.name} waits for {event}")

    def record_event(self) -> str:
        return f"the end of {log[-1]}"


log: list[str] = []


def record_run(number: int, *_: object) -> None:
    log.append(f"run {number}")


@pytest.fixture
def blocks() -> list[nn.Module]:
    log.clear()
    return [nn.Linear(number + 1, number + 2, device="meta") for number in range(NUM_BLOCKS)]


def streamed(monkeypatch: pytest.MonkeyPatch, blocks: list[nn.Module], device: str) -> StreamedBlocks:
    monkeypatch.setattr(block_streaming, "HostedWeights", Recorder)
    monkeypatch.setattr(block_streaming, "new_stream", partial(FakeStream, "copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream("computing"))
    made = StreamedBlocks(blocks, torch.device(device))
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(partial(record_run, number))
    return made


def run(blocks: list[nn.Module]) -> list[str]:
    """Run all blocks, and return what happened."""
    log.clear()
    for number, block in enumerate(blocks):
        block(torch.empty(1, number + 1, device="meta"))
    return list(log)


def test_each_block_is_copied_before_the_one_before_it_runs(
    monkeypatch: pytest.MonkeyPatch, blocks: list[nn.Module]
) -> None:
    held = streamed(monkeypatch, blocks, "cpu")
    assert run(blocks) == [
        *("copy 0", "copy 1", "run 0", "free 0"),
        *("copy 2", "run 1", "free 1"),
        *("copy 3", "run 2", "free 2"),
        *("copy 0", "run 3", "free 3"),
    ]
    assert run(blocks)[:3] == ["copy 1", "run 0", "free 0"], "the first was already there"
    held.offload()
    assert log[-1] == "free 0"
    held.offload()
    assert log[-1] == "free 0", "nothing is left"


def test_what_an_unfinished_pass_left_there_is_used_or_freed(
    monkeypatch: pytest.MonkeyPatch, blocks: list[nn.Module]
) -> None:
    held = streamed(monkeypatch, blocks, "cpu")
    run(blocks[:2])
    assert run(blocks)[:3] == ["copy 0", "copy 1", "run 0"]
    log.clear()
    held.offload()
    assert log == ["free 0"]


def test_copies_and_computing_wait_for_each_other_on_cuda(
    monkeypatch: pytest.MonkeyPatch, blocks: list[nn.Module]
) -> None:
    held = streamed(monkeypatch, blocks, "cuda")
    happened = run(blocks)
    assert happened[: happened.index("free 1") + 1] == [
        "copying waits for computing",
        "copy 0",
        "computing waits for the end of copy 0",
        "copying waits for computing",
        "copy 1",
        "run 0",
        "free 0",
        "computing waits for the end of copy 1",
        "copying waits for computing",
        "copy 2",
        "run 1",
        "free 1",
    ]
    log.clear()
    held.offload()
    assert log == ["computing waits for the end of copy 0", "free 0"], "it may still be written to"


def test_a_copy_that_fails_is_waited_for(monkeypatch: pytest.MonkeyPatch, blocks: list[nn.Module]) -> None:
    def fail(self: Recorder, stream: object = None) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    streamed(monkeypatch, blocks, "cuda")
    monkeypatch.setattr(Recorder, "onload", fail)
    with pytest.raises(torch.OutOfMemoryError):
        run(blocks)
    assert log == ["copying waits for computing", "computing waits for copying"]
