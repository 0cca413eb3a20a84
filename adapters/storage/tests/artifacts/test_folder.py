"""Files in a folder, copied under keys of their own."""

import errno
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from framegate.core.errors import NotFound, StorageFull, Unavailable
from framegate.storage.artifacts.folder import FolderStore
from tests.support.file_size import limit_file_size

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


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_links(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    store.copy("results/a/1.mp4", "inputs/b")
    path = store.path("inputs/b")
    assert path is not None
    assert (path.read_bytes(), path.stat().st_nlink) == (b"film", 1)
    assert list((data_dir / "work").iterdir()) == [data_dir / "work" / "x"], "no scratch folder is left"
    with pytest.raises(NotFound):
        store.copy("results/nothing", "inputs/c")


class Disk:
    """Notes what has been synced, and what it looked like then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[tuple[int, int], set[str]] = {}
        self.count = 0
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, handle: int) -> None:
        self._sync(handle)
        self.count += 1
        status = os.fstat(handle)
        names = set(os.listdir(handle)) if stat.S_ISDIR(status.st_mode) else {str(status.st_size)}
        self.synced[status.st_dev, status.st_ino] = names

    def survives(self, path: Path, root: Path) -> bool:
        """Return whether the file would be there, whole, after a power cut."""
        status = path.stat()
        if self.synced.get((status.st_dev, status.st_ino)) != {str(status.st_size)}:
            return False
        while path != root:
            folder = path.parent.stat()
            if path.name not in self.synced.get((folder.st_dev, folder.st_ino), ()):
                return False
            path = path.parent
        return True


@pytest.mark.parametrize("key", ["results/job/1.mp4", "inputs/a.png", "installation", "a/b/c/d"])
def test_a_file_survives_a_power_cut_with_its_folders(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    disk = Disk(monkeypatch)
    store = FolderStore(data_dir)
    for number in range(3):
        source = store.workdir("x") / "film"
        source.write_bytes(b"film")
        store.put(source, f"{key}{number}")
        assert disk.survives(data_dir / "files" / f"{key}{number}", data_dir)
    # Another process has made the folder and put a file into it, and has not synced it yet.
    (data_dir / "files" / "results" / "next").mkdir(parents=True, exist_ok=True)
    source = store.workdir("x") / "film"
    source.write_bytes(b"film")
    store.put(source, "results/next/1.mp4")
    assert disk.survives(data_dir / "files" / "results" / "next" / "1.mp4", data_dir)


def test_what_lasts_is_synced_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    source = store.workdir("x") / "film"
    source.write_bytes(b"film")
    store.put(source, "results/b/1.mp4")
    assert disk.count == 3, "the file, its job's folder, and the entry of that"


def test_files_that_were_put_unsynced_survive_once_they_are_synced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, store = Disk(monkeypatch), FolderStore(data_dir)
    keys = ["results/job/0.png", "results/job/1.png", "results/other/0.png"]
    for key in keys:
        source = store.workdir("x") / "image"
        source.write_bytes(key.encode())
        assert store.put(source, key, sync=False) == len(key)
    assert disk.count == 0
    with store.syncing(keys):
        pass
    assert all(disk.survives(data_dir / "files" / key, data_dir) for key in keys)
    assert disk.count == 3 + 5, "each file, and each folder once"
    disk.count = 0
    source = store.workdir("x") / "image"
    source.write_bytes(b"image")
    store.put(source, "results/job/2.png", sync=False)
    with store.syncing(["results/job/2.png"]):
        pass
    assert disk.count == 3, "the file, its job's folder, and the entry of that"


def test_a_file_that_cannot_be_synced_is_an_error(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = store.workdir("x") / "image"
    source.write_bytes(b"image")
    store.put(source, "results/job/0.png", sync=False)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="error"), store.syncing(["results/job/0.png"]):
        pass


@pytest.mark.parametrize("links", [True, False])
def test_a_copy_survives_a_power_cut(data_dir: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    disk = Disk(monkeypatch)
    store = FolderStore(data_dir)
    source = store.workdir("x") / "film"
    source.write_bytes(b"film")
    store.put(source, "results/a/1.mp4")
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    store.copy("results/a/1.mp4", "inputs/new/b")
    assert disk.survives(data_dir / "files" / "inputs" / "new" / "b", data_dir)


def test_a_file_that_a_network_file_system_does_not_know_yet(
    store: FolderStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This host has looked for it before another one stored it, and remembers that it was not there.

    NFS asks the server again when a folder is opened.
    """
    path = data_dir / "files" / "results" / "a" / "1.mp4"
    stale = {path, path.parent}
    own_stat, own_open = os.stat, os.open

    def stat_of(name: Any, *args: Any, **options: Any) -> os.stat_result:
        if Path(os.fsdecode(name)) in stale:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return own_stat(name, *args, **options)

    def open_anew(name: Any, *args: Any, **options: Any) -> int:
        folder = Path(os.fsdecode(name))
        if folder in stale:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        for known in [known for known in stale if known.parent == folder]:
            stale.discard(known)
        return own_open(name, *args, **options)

    monkeypatch.setattr(os, "stat", stat_of)
    monkeypatch.setattr(os, "open", open_anew)
    assert store.path("results/a/1.mp4") == path
    stale.update((path, path.parent))
    assert store.fetch("results/a/1.mp4", data_dir) == path
    assert store.path("results/a/2.mp4") is None


def test_many_are_removed_and_what_can_not_be_is_returned(
    store: FolderStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("results/a/2.mp4", "results/b/1.mp4", "inputs/c"):
        source = store.workdir("x") / "film"
        source.write_bytes(b"film")
        store.put(source, key)
    unlink = os.unlink

    def refuse(path: Any, **options: Any) -> None:
        if str(path).endswith("b/1.mp4"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    keys = ["results/a/1.mp4", "results/nothing/1.mp4", "results/b/1.mp4", "results/a/2.mp4", "inputs/c"]
    assert store.delete_many(keys) == {"results/b/1.mp4": "Operation not permitted"}
    assert set(store.keys_older_than(-60)) == {"results/b/1.mp4"}
    assert not (data_dir / "files" / "results" / "a").exists()


def test_ages_are_those_of_the_file_system(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    own = time.time
    monkeypatch.setattr(time, "time", lambda: own() + 7200)
    store.copy("results/a/1.mp4", "inputs/b")
    assert list(store.keys_older_than(3600)) == []
    copy = store.path("inputs/b")
    assert copy is not None
    assert copy.stat().st_atime < own() + 60


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


def test_a_probe_tells_a_full_disk_from_one_that_can_not_be_written(
    store: FolderStore, data_dir: Path
) -> None:
    store.probe()
    with limit_file_size(0), pytest.raises(StorageFull):
        store.probe()
    store.probe()
    shutil.rmtree(data_dir / "files")
    (data_dir / "files").write_bytes(b"no folder")
    with pytest.raises(Unavailable, match="can't be written"):
        store.probe()
    (data_dir / "files").unlink()
    store.probe()
    for folder in (data_dir / "work").iterdir():
        shutil.rmtree(folder)
    (data_dir / "work").rmdir()
    (data_dir / "work").write_bytes(b"no folder")
    with pytest.raises(Unavailable, match="can't be written") as caught:
        store.probe()
    assert str(data_dir) not in caught.value.message, "clients may read it"
