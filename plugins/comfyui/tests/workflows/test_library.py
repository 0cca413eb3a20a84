"""Workflow files that change, break and disappear."""

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from framegate.plugins.comfyui.workflows.library import WorkflowLibrary
from tests.support.comfyui.graphs import noisy_video


def write(path: Path, text: str) -> None:
    """Replace the file, as an editor would."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    library = WorkflowLibrary(tmp_path)
    assert library.models() == {}
    path = tmp_path / "flow.json"
    write(path, json.dumps(noisy_video("a.png", width=64)))
    first = library.models()["flow"]
    assert first.spec.defaults.width == 64
    assert library.models()["flow"] is first, "an unchanged file is not read again"
    write(path, json.dumps(noisy_video("a.png", width=128)))
    assert library.models()["flow"].spec.defaults.width == 128
    path.rename(tmp_path / "other.json")
    assert list(library.models()) == ["other"]
    (tmp_path / "other.json").unlink()
    assert library.models() == {}


def test_a_broken_file_leaves_the_last_good_version_and_the_others(tmp_path: Path) -> None:
    library = WorkflowLibrary(tmp_path)
    write(tmp_path / "fine.json", json.dumps(noisy_video("a.png")))
    write(tmp_path / "flow.json", json.dumps(noisy_video("a.png", width=64)))
    assert len(library.models()) == 2
    with capture_logs() as lines:
        write(tmp_path / "flow.json", json.dumps({"nodes": [], "links": []}))
        write(tmp_path / "new.json", "{")
        assert set(library.models()) == {"fine", "flow"}
        assert library.models()["flow"].spec.defaults.width == 64
    assert sorted(line["file"] for line in lines) == ["flow.json", "new.json"], "each is logged once"
    flow, new = library.errors()
    assert flow.startswith("The workflow flow.json can't be served: it is in ComfyUI's UI format")
    assert flow.endswith("Its previous version still is.")
    assert ".." not in flow
    assert new.startswith("The workflow new.json can't be served: it is not valid JSON")
    write(tmp_path / "flow.json", json.dumps(noisy_video("a.png", width=128)))
    (tmp_path / "new.json").unlink()
    assert library.errors() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    (tmp_path / "flow.json").touch(mode=0)
    assert WorkflowLibrary(tmp_path).errors() == [
        "The workflow flow.json can't be served: it can't be read: Permission denied."
    ]


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "._flow.json").write_bytes(b"\0")
    assert WorkflowLibrary(tmp_path).errors() == []
