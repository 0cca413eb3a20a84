"""Result and input files in a folder."""

import os
import shutil
import uuid
from pathlib import Path

from framegate.core.errors import NotFound


class FolderStore:
    """The `ArtifactStore` for one host, or for hosts that share a file system.

    A file appears by a rename within the folder, after its bytes and before its name are synced to disk:
    after a power cut it is there whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._work = root / "work"

    def put(self, source: Path, key: str) -> int:
        target = self._locate(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        source.replace(target)
        _sync_folder(target.parent)
        return size

    def path(self, key: str) -> Path | None:
        path = self._locate(key)
        return path if path.is_file() else None

    def copy(self, key: str, new_key: str) -> None:
        source, target = self._locate(key), self._locate(new_key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                target.hardlink_to(source)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links
                scratch = self.workdir(f"copy-{uuid.uuid4().hex}")
                try:
                    self.put(Path(shutil.copyfile(source, scratch / "file")), new_key)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None
        _sync_folder(target.parent)

    def delete(self, key: str) -> None:
        path = self._locate(key)
        path.unlink(missing_ok=True)
        if path.parent != self._files and path.parent.is_dir() and not any(path.parent.iterdir()):
            # Another file may arrive in between; then the folder is not empty and stays.
            try:
                path.parent.rmdir()
            except OSError:
                return

    def workdir(self, name: str) -> Path:
        path = self._work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def _locate(self, key: str) -> Path:
        """Raises:
        NotFound: the key leads out of the folder.
        """
        path = (self._files / key).resolve()
        if not path.is_relative_to(self._files.resolve()):
            raise NotFound("There is no such file.")
        return path


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
