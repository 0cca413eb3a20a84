"""Result and input files in a folder."""

import errno
import math
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import NotFound, Unavailable
from framegate.storage.artifacts.walking import VANISHED, file_system_time, walk
from framegate.storage.artifacts.workdirs import clear_abandoned, fresh_folder

_TRIES = 20
_PROBE_BYTES = 4096
"""A block: an empty file can be made on a full disk as well."""
_LASTING = 2
"""``files`` and the folders in it are never removed, unlike those of a job, so they are synced only once."""


_SYNCING_THREADS = 4


class FolderStore:
    """The `ArtifactStore` for one host, or for hosts that share a file system.

    A file appears by a rename within the folder, once its bytes are on disk; that folder and those above it
    are synced afterwards. So after a power cut the file is there whole or not at all. Only a file that
    nothing refers to before it is synced appears first: then one commit of the file system's journal serves
    its bytes and all folders.

    Another host's file may be there though this host's cache of a network file system says that it is not:
    opening a folder makes the cache look again, so that is done before a file counts as missing.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._work = root / "work"
        self._durable: set[Path] = set()
        self._threads = ThreadPoolExecutor(_SYNCING_THREADS, "sync-folders")

    def check(self) -> None:
        """Raise `Unavailable` if files can't be written."""
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._work):
                return
        except OSError as error:
            raise Unavailable(f"Files can't be written below {self._work}: {error.strerror}.") from None

    def probe(self) -> None:
        """Write a few bytes, and raise `StorageFull` or `Unavailable` if that fails."""
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            with translate_disk_full(), tempfile.TemporaryFile(dir=self._work, buffering=0) as file:
                file.write(bytes(_PROBE_BYTES))
            if self._files.exists() and not os.access(self._files / ".", os.W_OK | os.X_OK):
                raise Unavailable("The storage can't be written.")
        except OSError as error:
            raise Unavailable(f"The storage can't be written: {error.strerror}.") from None

    def put(self, source: Path, key: str, *, sync: bool = True) -> int:
        """Move the finished file ``source`` to ``key``; return its size in bytes.

        It is durable, unless ``sync`` is false: then `syncing` makes it so.
        """
        size = source.stat().st_size
        if sync:
            _sync(source)
        target = self._locate(key)
        self._place(source, target, _move)
        if sync:
            self._sync_entries(target)
        return size

    @contextmanager
    def syncing(self, keys: Collection[str]) -> Generator[None]:
        """Sync files that were put without, and their folders, while the block runs."""
        files = [self._locate(key) for key in keys]
        ways = [self._folders_of(file) for file in files]
        folders = {folder: None for way in ways for folder in self._unsynced(way)}
        syncs = [self._threads.submit(_sync, path) for path in (*files, *folders)]
        yield
        for each in syncs:
            each.result()
        for way in ways:
            self._note_synced(way)

    def path(self, key: str) -> Path | None:
        """Return where the file is, or None if there is no such file."""
        path = self._locate(key)
        if _is_file(path):
            return path
        for folder in self._folders_of(path):
            with suppress(OSError):
                os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        return path if _is_file(path) else None

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Return what `path` does; nothing is brought into ``folder``."""
        return self.path(key)

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return None: a folder has no URLs."""
        return None

    def copy(self, key: str, new_key: str) -> None:
        """Make the file ``key`` available as ``new_key`` as well, by a hard link where that is possible."""
        target = self._locate(new_key)
        try:
            self._place(self._locate(key), target, self._link)
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None
        self._sync_entries(target)

    def _link(self, source: Path, target: Path) -> None:
        try:
            target.hardlink_to(source)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            scratch = self.workdir(f"copy-{uuid.uuid4().hex}")
            try:
                copy = Path(shutil.copyfile(source, scratch / "file"))
                _sync(copy)
                _move(copy, target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        # It keeps the modification time of its source, which is part of the ETag; it was used last now.
        os.utime(target, (file_system_time(target.parent), target.stat().st_mtime))

    def delete(self, key: str) -> None:
        """Remove the file if it is there, and its job's folder with the last one."""
        path = self._locate(key)
        path.unlink(missing_ok=True)
        if key.count("/") > 1:  # a folder of one job's or one character's
            with suppress(OSError):  # it is not empty, or gone
                path.parent.rmdir()

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        """Remove those of the files that are there; return those that can't be removed, with the reasons."""
        refused: dict[str, str] = {}
        for key in keys:
            try:
                self.delete(key)
            except OSError as error:
                refused[key] = error.strerror or str(error)
        return refused

    def workdir(self, name: str) -> Path:
        """Return an empty scratch folder, from which `put` takes files; the caller removes it."""
        return fresh_folder(self._work / name)

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Yield the keys of files last written and read that long ago, by the clock of the file system."""
        moment = file_system_time(self._files) - seconds
        for path, status in walk(self._files):
            if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_atime) < moment:
                yield path.relative_to(self._files).as_posix()

    def clean_up(self, *, unused_for: float = math.inf) -> None:
        """Remove scratch folders of processes that were killed."""
        clear_abandoned(self._work)

    def _locate(self, key: str) -> Path:
        """Return the place of ``key``, or raise `NotFound` if it leads out of the folder."""
        root = f"{self._root}{os.sep}"
        path = os.path.realpath(root + key)
        if key.startswith(os.sep) or not f"{path}{os.sep}".startswith(root):
            raise NotFound("There is no such file.")
        return Path(path)

    @cached_property
    def _root(self) -> Path:
        """``files`` without symbolic links: it may lie on another disk."""
        return self._files.resolve()

    def _folders_of(self, path: Path) -> list[Path]:
        """Return the folders that ``path`` lies in, from the store's own to the innermost."""
        below: list[Path] = []
        folder = path.parent
        while folder != self._root:
            below.append(folder)
            folder = folder.parent
        return [self._files.parent, self._root, *reversed(below)]

    def _place(self, source: Path, target: Path, how: Callable[[Path, Path], None]) -> None:
        """Bring ``source`` to ``target``, whose folder others may be removing because it is empty.

        Raises:
            FileNotFoundError: There is no such source.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                how(source, target)
                break
            except (FileNotFoundError, FileExistsError):  # the folder was removed during mkdir or after it
                if not source.exists() or attempt == _TRIES:
                    raise

    def _sync_entries(self, path: Path) -> None:
        """Let the entry of ``path`` in its folder survive a power cut, and those of the folders above it."""
        way = self._folders_of(path)
        *above, folder = self._unsynced(way)
        # At the same time: one commit of the file system's journal serves all.
        syncs = [self._threads.submit(_sync, parent) for parent in above]
        with suppress(FileNotFoundError):  # the file has been removed again, and its folder with it
            _sync(folder)
            for each in syncs:
                each.result()
            self._note_synced(way)

    def _unsynced(self, way: Sequence[Path]) -> list[Path]:
        """Return those of a file's folders whose entry on the way to it may not be on disk, its own the last.

        Any of these may be new, made by this process or just now by another one.
        """
        above = [parent for parent, folder in pairwise(way) if folder not in self._durable]
        return [*above, way[-1]]

    def _note_synced(self, way: Sequence[Path]) -> None:
        self._durable.update(way[1 : 1 + _LASTING])


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_over(source, target)


def _move_over(source: Path, target: Path) -> None:
    """Move a file to another file system: ``files`` may be mounted from network storage, ``work`` not."""
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        with source.open("rb") as file, temporary.open("wb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    source.unlink()


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in VANISHED:
            return False
        raise


def _sync(path: Path) -> None:
    """Bring what was written to a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
