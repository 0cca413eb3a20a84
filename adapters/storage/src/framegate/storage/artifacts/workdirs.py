"""Folders for files that are being made."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a change after which whoever made a folder is dead: no step of a job takes that long."""


def fresh_folder(path: Path) -> Path:
    """An empty folder at ``path``, whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def clear_abandoned(parent: Path) -> None:
    """Remove the folders in ``parent`` that a killed process left."""
    if not parent.is_dir():
        return
    for folder in parent.iterdir():
        if _changed_at(folder) < time.time() - ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def _changed_at(folder: Path) -> float:
    changed = 0.0
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            changed = max(changed, path.stat().st_mtime)
    return changed
