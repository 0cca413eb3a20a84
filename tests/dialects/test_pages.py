"""The pages of the chat dialects, done as they say."""

import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
from PIL import Image

from tests.support.decoding import decoded
from tests.support.running import RunningServer

PAGES = Path(__file__).parents[2] / "docs" / "dialects"
# The catalogue's videos take their time.
SMALL = {"sora2-landscape-10s": "small", "ltx2_landscape": "small-chat"}


def blocks(page: str, language: str, server: RunningServer) -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    text = "\n\0".join(found).replace("localhost:8000", f"127.0.0.1:{server.port}")
    for name, small in SMALL.items():
        text = text.replace(f'"{name}"', f'"{small}"')
    return text.replace("[5.0s]", "[0.5s]").replace('"0,3"', '"0,1"').split("\0")


@pytest.mark.skipif(not (which("jq") and which("curl")), reason="the pages' commands need jq and curl")
@pytest.mark.parametrize("page", ["sora2api.md", "openai-chat.md"])
def test_the_commands(page: str, small_server: RunningServer, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        picture.save(tmp_path / "cat.png")
    script = "".join(blocks(page, "bash", small_server))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"error"' not in done.stdout
    assert decoded((tmp_path / "cat.mp4").read_bytes())[:2] == (128, 96)


def test_the_sdk_s_example(small_server: RunningServer) -> None:
    [program] = blocks("openai-chat.md", "python", small_server)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Generated Video URL: http://" in done.stdout
