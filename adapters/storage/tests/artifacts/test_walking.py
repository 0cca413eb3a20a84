"""Files and folders that vanish while they are being listed."""

import os
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framegate.storage.artifacts.file_cache import FileCache
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.artifacts.walking import list_folder, walk
from framegate.storage.artifacts.workdirs import ABANDONED_AFTER, clear_abandoned


def make_files(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


def test_a_file_that_vanishes_after_its_folder_was_listed_is_left_out(tmp_path: Path) -> None:
    make_files(*(tmp_path / name for name in "abc"))
    listing = list_folder(tmp_path)
    first, _ = next(listing)
    for path in tmp_path.iterdir():
        path.unlink()
    assert first.name in set("abc")
    assert list(listing) == []


@pytest.mark.parametrize("becomes_a_file", [False, True])
def test_a_folder_that_vanishes_after_its_parent_was_listed_is_left_out(
    tmp_path: Path, becomes_a_file: bool
) -> None:
    folder = tmp_path / "folder"
    make_files(folder / "film")
    walking = walk(tmp_path)
    assert next(walking)[0] == folder
    shutil.rmtree(folder)
    if becomes_a_file:
        folder.touch()
    assert list(walking) == []


def test_retention_may_remove_jobs_while_the_store_is_listed(data_dir: Path) -> None:
    files = data_dir / "files"
    for job in "abcdef":
        make_files(files / "results" / job / "1.mp4", files / "results" / job / "2.mp4")
    store = FolderStore(data_dir)
    keys = store.keys_older_than(-60)
    first = next(keys)
    for job in "abcdef":
        for name in ("1.mp4", "2.mp4"):
            store.delete(f"results/{job}/{name}")
    assert first.startswith("results/")
    assert list(keys) == []


def test_nothing_is_listed_in_what_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert list(walk(missing)) == []
    assert list(FolderStore(missing).keys_older_than(0)) == []
    clear_abandoned(missing)
    FileCache(missing, max_bytes=1).clean_up(unused_for=0)


def test_links_are_not_followed(tmp_path: Path) -> None:
    make_files(tmp_path / "outside" / "film")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to(tmp_path / "nothing")
    assert [path.name for path, _ in walk(root)] == ["link"]


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        list(walk(tmp_path / ("x" * 300)))


def test_a_host_whose_clock_is_days_ahead_clears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(tmp_path / "work" / "job" / "film", tmp_path / "cache" / "film")
    own = time.time
    monkeypatch.setattr(time, "time", lambda: own() + 3 * ABANDONED_AFTER)
    clear_abandoned(tmp_path / "work")
    cache = FileCache(tmp_path / "cache", max_bytes=100)
    cache.clean_up(unused_for=3600)
    assert len(list(walk(tmp_path))) == 5
    cache.clean_up(unused_for=-60)
    assert not list((tmp_path / "cache").iterdir())


def test_a_large_folder_is_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(*(tmp_path / str(number) for number in range(50)))
    read: list[str] = []
    scan = os.scandir

    @contextmanager
    def noted(path: Path) -> Generator[Iterator[os.DirEntry[str]]]:
        def entries() -> Iterator[os.DirEntry[str]]:
            with scan(path) as found:
                for entry in found:
                    read.append(entry.name)
                    yield entry

        yield entries()

    monkeypatch.setattr(os, "scandir", noted)
    listing = list_folder(tmp_path)
    for number in range(1, 4):
        next(listing)
        assert len(read) == number


def test_only_folders_that_nobody_writes_to_are_abandoned(tmp_path: Path) -> None:
    long_ago = time.time() - ABANDONED_AFTER - 60
    for name in ("dead", "alive"):
        make_files(tmp_path / name / "inner" / "film")
        for path in (tmp_path / name / "inner" / "film", tmp_path / name / "inner", tmp_path / name):
            os.utime(path, (long_ago, long_ago))
    os.utime(tmp_path / "alive" / "inner" / "film")
    clear_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["alive"]
