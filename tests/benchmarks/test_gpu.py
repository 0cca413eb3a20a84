"""The benchmark runs; what it measures on a CPU says nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.benchmarks import gpu
from tests.support.tiny_models import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("one_thread", "logging_restored")
def test_every_run_gives_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "table.md"
    gpu.main(["--device", "cpu", "--models", "ltx2", "--output", str(output)])
    text = output.read_text(encoding="utf-8")
    printed = capsys.readouterr()
    assert text.strip() == printed.out.replace("\n\n\n", "\n\n").strip()
    assert "Left out" not in text, printed.err
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == [
        "plain diffusers",
        "exact: attention, compile",
        "… 8 steps, no guidance",
        "exact and step cache",
        "all: exact, step cache, fp8",
        "no lever",
        "attention alone",
        "compile alone",
        "compile and fp8",
        "step cache alone",
    ]
    for name, step, faster, *rest in rows:
        assert float(step) > 0, name
        assert float(faster) > 0, name
        assert len(rest) == 9, name
    assert rows[0][2] == "1.00"
    whole = {row[0] for row in rows if row[8] != "–"}
    assert whole == {rows[number][0] for number in (0, 1, 2, 4)}
