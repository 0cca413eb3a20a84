"""The benchmark of the step caches works."""

import json

import pytest

from tests.benchmarks.step_caches import main
from tests.support.tiny_models import TinyModel, one_thread, tiny_model

__all__ = ["one_thread", "tiny_model"]


@pytest.mark.usefixtures("one_thread")
def test_each_cache_is_measured_against_the_exact_result(
    tiny_model: TinyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--size", "64x64", "--frames", "5", "--steps", "9", "--device", "cpu"]
    main(["wan21-t2v", str(tiny_model("wan21_t2v")), *size])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["cache"] for row in rows] == ["off", "light", "strong"]
    assert rows[0]["psnr"] is None
    assert all(row["psnr"] > 20 for row in rows[1:])
