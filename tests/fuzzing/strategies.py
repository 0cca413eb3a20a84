"""Inputs that Hypothesis makes: seeds with a few bytes changed, and words in any order."""

from hypothesis import strategies as st

from tests.fuzzing.seeds import WORDS, seeds


@st.composite
def _mutated(draw: st.DrawFn, target: str) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds()[target])))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        data[start:end] = draw(st.one_of(st.binary(max_size=8), st.sampled_from(WORDS[target]), st.just(b"")))
    return bytes(data[: draw(st.sampled_from([len(data), len(data), len(data) // 2]))])


def _composed(target: str) -> st.SearchStrategy[bytes]:
    piece = st.one_of(
        st.sampled_from(WORDS[target]), st.binary(max_size=3), st.sampled_from([b" ", b"a", b"1"])
    )
    return st.lists(piece, max_size=30).map(b"".join)


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Return inputs for a target."""
    return st.one_of(_mutated(target), _composed(target), st.binary(max_size=200))
