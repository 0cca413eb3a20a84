"""The file that remembers what was measured."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from framegate.plugins.diffusers.loading.probes import FILE, Decisions


def test_decisions_are_remembered_across_starts(tmp_path: Path) -> None:
    folder = tmp_path / "compiled"
    assert Decisions(folder).get("a") is None
    Decisions(folder).put("a", "one")
    Decisions(folder).put("b", "two")
    Decisions(folder).put("a", "three")
    assert [Decisions(folder).get(key) for key in ("a", "b", "c")] == ["three", "two", None]
    assert [file.name for file in folder.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"a": 1}', b"null"])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    decisions = Decisions(tmp_path)
    assert decisions.get("a") is None
    decisions.put("a", "one")
    assert decisions.get("a") == "one"


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    decisions = Decisions(tmp_path / "file" / "folder")
    with capture_logs() as logs:
        decisions.put("a", "one")
    assert decisions.get("a") is None
    assert logs == [{"event": "probe_not_remembered", "why": "Not a directory", "log_level": "info"}]
