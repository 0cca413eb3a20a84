"""The example of openai-videos, done."""

import subprocess
import sys
from pathlib import Path

from tests.support.decoding import decoded
from tests.support.running import RunningServer

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "openai_videos.py"


def run_example(url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=folder,
        env={"FRAMEGATE_URL": url},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_the_example(server: RunningServer, photo: Path, tmp_path: Path) -> None:
    small = ("--size", "128x96", "--seconds", "1", "--seed", "42")
    first = run_example(server.url, tmp_path, "a boat", *small, "-o", "first.mp4")
    assert first.returncode == 0, first.stderr
    video_id = first.stderr.partition(":")[0]
    for arguments, frames in (
        (["a boat", "--image", str(photo), *small], 24),
        (["in blue", "--edit", "first.mp4"], 24),
        (["at night", "--remix", video_id], 24),
        (["it sails on", "--extend", "first.mp4", "--seconds", "2"], 72),
    ):
        done = run_example(server.url, tmp_path, *arguments, "-o", "out.mp4")
        assert done.returncode == 0, done.stderr
        assert decoded((tmp_path / "out.mp4").read_bytes()) == (128, 96, frames, 24.0)
    failed = run_example(server.url, tmp_path, "a boat", "--size", "large")
    assert failed.returncode == 1
    assert "size" in failed.stderr
