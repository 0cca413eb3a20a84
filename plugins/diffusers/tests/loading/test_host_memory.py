"""Page-locked host memory."""

from pathlib import Path

import pytest
import torch
from torchao import quantization  # pyright: ignore[reportMissingTypeStubs] # ships no types

from framegate.plugins.diffusers.loading import host_memory
from framegate.plugins.diffusers.loading.host_memory import (
    KEPT_FREE,
    SLAB,
    PinnedMemory,
    available_bytes,
    plain_tensors,
)
from framegate.plugins.diffusers.loading.quantization import recipe


class Host:
    """A host with ``room`` bytes beyond those that are kept free."""

    def __init__(self, room: int) -> None:
        self.available = KEPT_FREE + room
        self.slabs: list[torch.Tensor] = []

    def memory(self) -> PinnedMemory:
        return PinnedMemory(lambda: self.available, self._allocate)

    def holds(self, tensor: torch.Tensor) -> bool:
        return any(0 <= tensor.data_ptr() - slab.data_ptr() < slab.nbytes for slab in self.slabs)

    def _allocate(self, size: int) -> torch.Tensor:
        self.available -= size
        self.slabs.append(torch.empty(size, dtype=torch.uint8))
        return self.slabs[-1]


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "SLAB", 4096)


def test_tensors_share_slabs_and_keep_their_values_and_their_layout() -> None:
    host = Host(room=2**30)
    memory = host.memory()
    tensors = [
        torch.randn(3, 5),
        torch.randn(2, 3, 2, 4, 4).to(memory_format=torch.channels_last_3d),
        torch.arange(7, dtype=torch.int8),
        torch.randn(40, 40, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.tensor(2.5)),
    ]
    copies = [tensor.clone() for tensor in tensors]
    for tensor in tensors:
        memory.pin(tensor)
    assert all(host.holds(tensor) for tensor in tensors)
    assert all(torch.equal(one, other) for one, other in zip(tensors, copies, strict=True))
    assert [tensor.stride() for tensor in tensors] == [copy.stride() for copy in copies]
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
    assert [slab.nbytes for slab in host.slabs] == [4096, 4096]
    assert (memory.pinned, memory.pageable) == (sum(tensor.nbytes for tensor in tensors), 0)


def test_a_tensor_larger_than_a_slab_shares_the_rest_of_its_own() -> None:
    host = Host(room=2**30)
    memory = host.memory()
    large, small = torch.zeros(5000, dtype=torch.uint8), torch.zeros(2000, dtype=torch.uint8)
    memory.pin(large)
    memory.pin(small)
    assert [slab.nbytes for slab in host.slabs] == [8192], "a power of two, as PyTorch would make it"
    assert host.holds(small)


def test_what_the_host_has_no_room_for_stays_where_it_is() -> None:
    host = Host(room=4096)
    memory = host.memory()
    tensors = [torch.zeros(3000, dtype=torch.uint8) for _ in range(2)]
    small = torch.zeros(512, dtype=torch.uint8)
    for tensor in (*tensors, small):
        memory.pin(tensor)
    assert [host.holds(tensor) for tensor in (*tensors, small)] == [True, False, True]
    assert (memory.pinned, memory.pageable) == (3512, 3000)
    assert host.available == KEPT_FREE


def test_the_parts_of_a_quantised_tensor_are_pinned() -> None:
    host = Host(room=2**30)
    layer = torch.nn.Linear(32, 32)
    quantization.quantize_(layer, recipe("int8-weights", torch.float32))
    expected = layer(torch.ones(1, 32))
    host.memory().pin(layer.weight)
    assert all(host.holds(part) for part in plain_tensors(layer.weight))
    assert torch.equal(layer(torch.ones(1, 32)), expected)


def test_a_view_with_gaps_stays_where_it_is() -> None:
    host = Host(room=2**30)
    view = torch.randn(4, 4)[:, ::2]
    host.memory().pin(view)
    assert not host.holds(view)


MIB = 2**20


@pytest.mark.parametrize(
    ("membership", "folder", "names"),
    [
        ("0::/workers/one", "workers/one", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:cpu,memory:/workers/one\n0::/",
            "memory/workers/one",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
        ("0::/seen/from/the/host", "", ("memory.max", "memory.current", "inactive_file")),
    ],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, folder: str, names: tuple[str, str, str]
) -> None:
    group = tmp_path / "cgroup" / folder
    group.mkdir(parents=True)
    for name, value in zip(names, (64 * MIB, 40 * MIB, f"anon 1\n{names[2]} {8 * MIB}"), strict=True):
        (group / ("memory.stat" if name == names[2] else name)).write_text(f"{value}\n")
    (tmp_path / "membership").write_text(membership)
    monkeypatch.setattr(host_memory, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(host_memory, "GROUPS", tmp_path / "cgroup")
    assert available_bytes() == 32 * MIB
    (group / names[0]).write_text("max\n")
    assert available_bytes() > 32 * MIB


def test_this_host_has_memory() -> None:
    assert 0 < available_bytes() < 2**50
    assert SLAB == 2**30
