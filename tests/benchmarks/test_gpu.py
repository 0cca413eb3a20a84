"""The benchmark runs; what it measures on a CPU says nothing."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("gpu.py")


def test_every_run_gives_a_row(tmp_path: Path) -> None:
    output = tmp_path / "table.md"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--device", "cpu", "--models", "ltx2", "--output", output],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    text = output.read_text(encoding="utf-8")
    assert text.strip() == done.stdout.replace("\n\n\n", "\n\n").strip()
    assert "Left out" not in text, done.stderr
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
