"""Folders for files that are being made."""

import shutil
from pathlib import Path

from framegate.storage.artifacts.walking import file_system_time, list_folder, walk

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a change after which whoever made a folder is dead: no step of a job takes that long."""


def fresh_folder(path: Path) -> Path:
    """Make an empty folder at ``path`` in place of whatever is there, and return it."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    return path


def clear_abandoned(parent: Path) -> None:
    """Remove the folders in ``parent`` that a killed process left."""
    folders = list(list_folder(parent))
    if not folders:
        return
    oldest = file_system_time(parent) - ABANDONED_AFTER
    for folder, status in folders:
        changed_at = max((status.st_mtime, *(inner.st_mtime for _, inner in walk(folder))))
        if changed_at < oldest:
            shutil.rmtree(folder, ignore_errors=True)
