"""What the banner says of servers that are set up in different ways."""

import sys
from pathlib import Path
from typing import Any

import pytest

from framegate.cli.app_context import create_context
from framegate.cli.config_file import load_settings
from framegate.server.banner import banner

PATHS = ("/", "/docs", "/health")


def rows(values: dict[str, Any], *, paths: tuple[str, ...] = PATHS, workers: int = 1) -> dict[str, str]:
    context = create_context(load_settings(environ={}, overrides=values))
    first, ready, *lines, last = banner(context, port=8000, paths=paths, workers=workers)
    assert first == last == ""
    return {"ready": ready.rpartition(" ")[2], **{line[2:11].strip(): line[12:] for line in lines}}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("gpu.internal", "http://gpu.internal:8000"),
    ],
)
def test_addresses_that_a_browser_here_can_open(host: str, url: str) -> None:
    shown = rows({"server.host": host})
    assert (shown["ready"], shown["Page"], shown["API docs"]) == (url, f"{url}/", f"{url}/docs")


def test_only_what_is_served() -> None:
    assert not {"Page", "API docs"} & rows({}, paths=("/health",)).keys()


def test_which_models_are_real(tmp_path: Path) -> None:
    assert rows({})["Models"] == "only preview, which draws without a model (see docs/models.md)"
    source = {"source": str(tmp_path)}
    assert rows({"models.wan22": source})["Models"] == "wan22; preview draws without a model"
    many = {f"models.m{number}": {"backend": "wan22", **source} for number in range(6)}
    assert rows(many)["Models"] == "m0, m1, m2, m3 and 2 more; preview draws without a model"


def test_the_command_finds_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(sys.executable).with_name("framegate")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert rows({})["Try"] == f"{program} generate 'a paper boat on a pond' -o out.mp4"
    monkeypatch.chdir(program.parent.parent)
    assert rows({})["Try"].startswith("bin/framegate generate ")
    monkeypatch.setenv("PATH", str(program.parent))
    assert rows({})["Try"].startswith("framegate generate ")
    folder = tmp_path / "my data"
    assert rows({"server.data_dir": str(folder)})["Try"].endswith(f" -o out.mp4 --data-dir '{folder}'")


def test_a_server_without_a_worker_says_so() -> None:
    assert "framegate worker" in rows({}, workers=0)["Workers"]
    assert "Workers" not in rows({})
