"""Listing folders from which other processes remove files at the same time."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
"""What a file that was removed after its folder was listed answers; ESTALE on network file systems."""


def list_folder(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each entry of ``folder`` with its status; entries that vanish meanwhile are left out.

    A folder that does not exist has no entries.
    """
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        if error.errno in _VANISHED:
            return
        raise
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in _VANISHED:
                continue
            raise
        yield path, status


def walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all that is below ``folder`` with its status, as `list_folder` does; links are not followed."""
    for path, status in list_folder(folder):
        yield path, status
        if stat.S_ISDIR(status.st_mode) and not path.is_symlink():
            yield from walk(path)
