"""Listing folders from which other processes remove files at the same time, and telling the age of these."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
"""What a file that was removed after its folder was listed answers; ESTALE on network file systems."""


def file_system_time(folder: Path) -> float:
    """Return the time in seconds since the epoch by the clock of the file system that holds ``folder``.

    That is the clock by which its files are dated; of a network file system it is not this host's. The folder
    itself gets this time, which needs no room on a full disk. Without such a folder it is 0.
    """
    try:
        os.utime(folder)
        return folder.stat().st_mtime
    except OSError as error:
        if error.errno in VANISHED:
            return 0.0
        raise


def list_folder(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each entry of ``folder`` with its status; entries that vanish meanwhile are left out.

    A folder that does not exist has no entries. There may be a million: they are read a few at a time.
    """
    for path in _entries(folder):
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in VANISHED:
                continue
            raise
        yield path, status


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield Path(entry.path)
    except OSError as error:
        if error.errno not in VANISHED:
            raise


def walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all that is below ``folder`` with its status, as `list_folder` does; links are not followed."""
    for path, status in list_folder(folder):
        yield path, status
        if stat.S_ISDIR(status.st_mode) and not path.is_symlink():
            yield from walk(path)
