"""Result and input files in a folder."""

import errno
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from framegate.core.errors import NotFound, Unavailable
from framegate.storage.artifacts.walking import walk
from framegate.storage.artifacts.workdirs import clear_abandoned, fresh_folder

_TRIES = 20


class FolderStore:
    """The `ArtifactStore` for one host, or for hosts that share a file system.

    A file appears by a rename within the folder, once its bytes are on disk; the folder is synced afterwards.
    So after a power cut the file is there whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._work = root / "work"

    def check(self) -> None:
        """Raise `Unavailable` if files can't be written."""
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._work):
                return
        except OSError as error:
            raise Unavailable(f"Files can't be written below {self._work}: {error.strerror}.") from None

    def put(self, source: Path, key: str) -> int:
        """Move the finished file ``source`` to ``key`` durably; return its size in bytes."""
        with source.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        _place(source, self._locate(key), _move)
        return size

    def path(self, key: str) -> Path | None:
        """Return where the file is, or None if there is no such file."""
        path = self._locate(key)
        return path if path.is_file() else None

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Return what `path` does; nothing is brought into ``folder``."""
        return self.path(key)

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return None: a folder has no URLs."""
        return None

    def copy(self, key: str, new_key: str) -> None:
        """Make the file ``key`` available as ``new_key`` as well, by a hard link where that is possible."""
        try:
            _place(self._locate(key), self._locate(new_key), self._link)
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None

    def _link(self, source: Path, target: Path) -> None:
        try:
            target.hardlink_to(source)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            scratch = self.workdir(f"copy-{uuid.uuid4().hex}")
            try:
                _move(Path(shutil.copyfile(source, scratch / "file")), target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        # It keeps the modification time of its source, which is part of the ETag; it was used last now.
        os.utime(target, (time.time(), target.stat().st_mtime))

    def delete(self, key: str) -> None:
        """Remove the file if it is there, and its job's folder with the last one."""
        path = self._locate(key)
        path.unlink(missing_ok=True)
        if key.count("/") > 1:  # a folder of one job's or one character's
            with suppress(OSError):  # it is not empty, or gone
                path.parent.rmdir()

    def workdir(self, name: str) -> Path:
        """Return an empty scratch folder, from which `put` takes files; the caller removes it."""
        return fresh_folder(self._work / name)

    def keys_before(self, moment: float) -> Iterator[str]:
        """Yield the keys of files last written and read before ``moment`` (seconds since the epoch)."""
        for path, status in walk(self._files):
            if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_atime) < moment:
                yield path.relative_to(self._files).as_posix()

    def clean_up(self, *, unused_for: float) -> None:
        """Remove scratch folders of processes that were killed."""
        clear_abandoned(self._work)

    def _locate(self, key: str) -> Path:
        """Return the place of ``key``, or raise `NotFound` if it leads out of the folder."""
        path = (self._files / key).resolve()
        if not path.is_relative_to(self._files.resolve()):
            raise NotFound("There is no such file.")
        return path


def _place(source: Path, target: Path, how: Callable[[Path, Path], None]) -> None:
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
    with suppress(FileNotFoundError):  # it has been removed again
        _sync_folder(target.parent)


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


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
