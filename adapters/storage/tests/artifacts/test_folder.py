"""Files in a folder, copied under keys of their own."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from framegate.core.errors import NotFound
from framegate.storage.artifacts.folder import FolderStore

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def store(data_dir: Path) -> FolderStore:
    store = FolderStore(data_dir)
    source = store.workdir("x") / "film"
    source.write_bytes(b"film")
    store.put(source, "results/a/1.mp4")
    return store


def test_a_copy_stays_when_its_source_goes(store: FolderStore) -> None:
    store.copy("results/a/1.mp4", "inputs/b")
    path = store.path("inputs/b")
    assert path is not None
    assert path.stat().st_nlink == 2, "large videos are not written again"
    store.delete("results/a/1.mp4")
    assert path.read_bytes() == b"film"
    store.delete("inputs/b")
    assert store.path("inputs/b") is None


def test_a_file_system_without_links(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    store.copy("results/a/1.mp4", "inputs/b")
    path = store.path("inputs/b")
    assert path is not None
    assert (path.read_bytes(), path.stat().st_nlink) == (b"film", 1)
    assert list((data_dir / "work").iterdir()) == [data_dir / "work" / "x"], "no scratch folder is left"
    with pytest.raises(NotFound):
        store.copy("results/nothing", "inputs/c")


def test_what_is_not_there_or_outside_is_not_copied(store: FolderStore) -> None:
    for key, new_key in (
        ("results/nothing", "inputs/b"),
        ("../../etc/passwd", "inputs/b"),
        ("results/a/1.mp4", "../outside"),
    ):
        with pytest.raises(NotFound):
            store.copy(key, new_key)
    assert store.path("inputs/b") is None


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no second file system is at hand")
def test_files_on_another_file_system(data_dir: Path) -> None:
    with TemporaryDirectory(dir=SHARED_MEMORY) as elsewhere:
        data_dir.mkdir()
        (data_dir / "files").symlink_to(elsewhere)
        store = FolderStore(data_dir)
        source = store.workdir("x") / "film"
        source.write_bytes(b"film")
        assert store.put(source, "results/a/1.mp4") == 4
        assert not source.exists()
        assert [path.name for path in Path(elsewhere).rglob("*") if path.is_file()] == ["1.mp4"]
        path = store.path("results/a/1.mp4")
        assert path is not None
        assert path.read_bytes() == b"film"


@pytest.mark.parametrize("key", ["inputs/{}", "results/job/{}"])
def test_files_come_and_go_at_once(store: FolderStore, key: str) -> None:
    """Where one removes the last file of a folder another is just putting one into it."""

    def come_and_go(name: str) -> None:
        for number in range(200):
            source = store.workdir(f"{name}-{number}") / "film"
            source.write_bytes(b"film")
            store.put(source, key.format(name))
            store.copy(key.format(name), key.format(f"{name}-copy"))
            for made in (name, f"{name}-copy"):
                assert store.path(key.format(made))
                store.delete(key.format(made))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(come_and_go, "abc"))


def test_a_copy_is_as_young_as_it_is(store: FolderStore) -> None:
    source = store.path("results/a/1.mp4")
    assert source is not None
    os.utime(source, (1.0, 1.0))
    assert list(store.keys_older_than(60)) == ["results/a/1.mp4"]
    store.copy("results/a/1.mp4", "inputs/b")
    assert list(store.keys_older_than(60)) == []
    assert source.stat().st_mtime == 1.0, "downloads that were begun can be gone on with"
