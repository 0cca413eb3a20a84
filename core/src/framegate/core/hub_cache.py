"""The Hugging Face hub's cache on this host, looked at without its library."""

import os
import re
from pathlib import Path

_HUB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")


def is_hub_id(source: str) -> bool:
    """Return whether a source is the name of a repository of the hub, and not a folder here."""
    return bool(_HUB_ID.fullmatch(source)) and not Path(source).exists()


def cache_folder() -> Path:
    """Return the folder of the cache, which may not exist yet."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def cached_snapshot(hub_id: str) -> Path | None:
    """Return a folder with the repository's files as they were downloaded last, or None."""
    folder = cache_folder() / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    try:
        snapshots = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    except OSError:
        return None
    return snapshots[-1] if snapshots else None
