"""LTX-2 on Apple's GPUs, where it can't run."""

import pytest

from framegate.core.errors import GenerationFailed
from framegate.plugins.ltx2.backend import Ltx2Backend


def test_it_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # which `load` sets otherwise
    with pytest.raises(GenerationFailed, match="double precision, which Apple's GPUs lack"):
        Ltx2Backend("/nowhere").load("mps")
