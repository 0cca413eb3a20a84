"""Local copies of files that are kept elsewhere."""

import hashlib
import time
from contextlib import suppress
from pathlib import Path


class FileCache:
    """Holds at most ``max_bytes``, but for the newest file; who was used longest ago goes first. A file that
    is being read while it goes stays readable."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        path = self._locate(key)
        return path if path.is_file() else None

    def add(self, key: str, source: Path) -> Path:
        """Move ``source`` in."""
        path = self._locate(key)
        self._make_room(source.stat().st_size)
        self._folder.mkdir(parents=True, exist_ok=True)
        return source.replace(path)

    def drop(self, key: str) -> None:
        self._locate(key).unlink(missing_ok=True)

    def clean_up(self, unused_for: float) -> None:
        """Remove what nobody used for that many seconds."""
        oldest = time.time() - unused_for
        for used_at, _, path in self._entries():
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
        """When each was used last, its bytes, and where it is."""
        entries: list[tuple[float, int, Path]] = []
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    entries.append((stat.st_atime, stat.st_size, path))
        return entries

    def _locate(self, key: str) -> Path:
        return self._folder / local_name(key)


def local_name(key: str) -> str:
    """A file name of its own for each key."""
    return hashlib.sha256(key.encode()).hexdigest() + Path(key).suffix
