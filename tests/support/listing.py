"""Listings of folders from which servers and workers remove files meanwhile."""

import os
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Return the files in ``folder`` and below it; none if it isn't there.

    `Path.rglob` raises an error when a folder is removed that it is about to list, `os.walk` doesn't.
    """
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def entries_of(folder: Path) -> list[Path]:
    """Return what is in ``folder`` itself, files and folders; nothing if it isn't there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
