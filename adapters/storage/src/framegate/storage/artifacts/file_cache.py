"""Local copies of files that are kept elsewhere."""

import hashlib
from pathlib import Path

from framegate.storage.artifacts.walking import file_system_time, list_folder


class FileCache:
    """A folder of at most ``max_bytes``, not counting the newest file; the least recently used go first.

    A file that is removed while it is being read stays readable for its reader.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        """Return the local copy of ``key``, or None."""
        path = self._locate(key)
        return path if path.is_file() else None

    def add(self, key: str, source: Path) -> Path:
        """Move ``source`` into the cache as the copy of ``key``, and return its place there."""
        path = self._locate(key)
        self._make_room(source.stat().st_size)
        self._folder.mkdir(parents=True, exist_ok=True)
        return source.replace(path)

    def drop(self, key: str) -> None:
        """Remove the copy of ``key`` if there is one."""
        self._locate(key).unlink(missing_ok=True)

    def clean_up(self, unused_for: float) -> None:
        """Remove copies that nobody has used for ``unused_for`` seconds."""
        entries = self._entries()
        if not entries:
            return
        oldest = file_system_time(self._folder) - unused_for
        for used_at, _, path in entries:
            if used_at < oldest:
                path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        entries = sorted(self._entries())
        surplus = sum(entry[1] for entry in entries) + size - self._max_bytes
        for _, freed, path in entries:
            if surplus <= 0:
                return
            path.unlink(missing_ok=True)
            surplus -= freed

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return when each file was used last, its bytes, and where it is."""
        return [(status.st_atime, status.st_size, path) for path, status in list_folder(self._folder)]

    def _locate(self, key: str) -> Path:
        return self._folder / local_name(key)


def local_name(key: str) -> str:
    """Return the file name for the copy of ``key``: unique, with the suffix of ``key``."""
    return hashlib.sha256(key.encode()).hexdigest() + Path(key).suffix
