"""When to decode in tiles."""

from collections.abc import Iterator

import pytest
import torch

from framegate.plugins.diffusers.tiling import Tiling

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")


class Decoder:
    """Yields eight numbers, the whole ones until memory runs out after ``fails_after`` of them."""

    def __init__(self, fails_after: int = 99) -> None:
        self.fails_after = fails_after
        self.tried_whole = 0

    def whole(self) -> Iterator[str]:
        self.tried_whole += 1
        for number in range(8):
            if number == self.fails_after:
                raise torch.OutOfMemoryError("CUDA out of memory")
            yield f"w{number}"

    def tiled(self) -> Iterator[str]:
        return (f"t{number}" for number in range(8))

    def run(self, tiling: Tiling, needed: int = 100) -> str:
        return " ".join(tiling.frames(needed, self.whole, self.tiled))


def test_what_was_given_is_not_given_again() -> None:
    decoder = Decoder(fails_after=3)
    assert decoder.run(Tiling("auto", CPU)) == "w0 w1 w2 t3 t4 t5 t6 t7"


def test_a_size_that_ran_out_is_tiled_from_then_on() -> None:
    tiling, decoder = Tiling("auto", CPU), Decoder(fails_after=3)
    for needed in (100, 100, 120):
        decoder.run(tiling, needed)
    assert decoder.tried_whole == 1
    assert Decoder().run(tiling, 99).startswith("w0")


@pytest.mark.parametrize(("free", "first"), [(100, "w0"), (99, "t0")])
def test_what_is_not_free_is_not_tried(free: int, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def free_bytes(device: torch.device) -> int:
        assert device == CUDA
        return free

    monkeypatch.setattr("framegate.plugins.diffusers.tiling.free_bytes", free_bytes)
    assert Decoder().run(Tiling("auto", CUDA)).startswith(first)
    assert Decoder().run(Tiling("off", CUDA)).startswith("w0")


def test_tiles_and_their_absence_can_be_demanded() -> None:
    assert Decoder().run(Tiling("on", CPU)).startswith("t0")
    with pytest.raises(torch.OutOfMemoryError):
        Decoder(fails_after=3).run(Tiling("off", CPU))


def test_other_errors_pass() -> None:
    def broken() -> Iterator[str]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(Tiling("auto", CPU).frames(1, broken, broken))


def test_what_is_decoded_at_once_is_remembered_too() -> None:
    def full() -> str:
        raise MemoryError

    tiling = Tiling("auto", CPU)
    assert tiling.decode(5, full, lambda: "tiled") == "tiled"
    assert tiling.decode(5, lambda: "whole", lambda: "tiled") == "tiled"
    assert tiling.decode(4, lambda: "whole", lambda: "tiled") == "whole"
