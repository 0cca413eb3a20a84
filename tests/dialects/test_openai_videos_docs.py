"""What the page and the example of openai-videos say, done."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.decoding import decoded
from tests.support.running import RunningServer

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "dialects" / "openai-videos.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "openai_videos.py"


def block(language: str, url: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found).replace("http://localhost:8000", url).replace("localhost:8000", url)


def test_the_python_of_the_page(server: RunningServer, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", block("python", server.url)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert decoded((tmp_path / "cat.mp4").read_bytes()) == (1280, 720, 96, 24.0)


def test_the_commands_of_the_page(server: RunningServer, tmp_path: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block("bash", server.url)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert decoded((tmp_path / "cat.mp4").read_bytes()) == (832, 480, 48, 24.0)
    assert (tmp_path / "cat.webp").read_bytes()[8:12] == b"WEBP"
    assert '"seconds": "6"' in done.stdout


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
