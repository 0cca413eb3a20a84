"""Choose a graph's result among the files that its history lists."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.servers.client import StoredFile
from framegate.plugins.comfyui.workflows.workflow import FileKind

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
ANIMATION_SUFFIXES = frozenset({".png", ".webp"})
_SUFFIXES: Mapping[FileKind, frozenset[str]] = {
    "video": frozenset({".mp4", ".webm", ".mov", ".mkv", ".m4v", ".avi", ".gif"}),
    "image": IMAGE_SUFFIXES,
    "audio": frozenset({".flac", ".mp3", ".opus", ".wav", ".ogg", ".m4a", ".aac"}),
}
_FILE_LISTS = ("images", "gifs", "videos", "video", "audio")
_ANIMATION_MARKS = frozenset(
    {"animated", "gifs"}
)  # what savers of animations list and savers of images don't


def select_files(output: Any, kind: FileKind) -> list[StoredFile]:
    """Return the files of ``kind`` in a node's output.

    Previews are taken only if there is nothing else, and animated images as videos only if there is no other
    video.
    """
    lists = (table(output).get(name) for name in _FILE_LISTS)
    entries = [entry for each in lists for entry in (items(each) or [each])]
    files = [file for entry in entries if (file := _read_file(entry))]
    selected = [file for file in files if _kind_of(file) == kind]
    if not selected and kind == "video" and table(output).keys() & _ANIMATION_MARKS:
        selected = [file for file in files if suffix_of(file) in ANIMATION_SUFFIXES]
    return [file for file in selected if file.type != "temp"] or selected


def suffix_of(file: StoredFile) -> str:
    """Return the file's known suffix or an empty string; nothing else of its name is ever used."""
    suffix = PurePosixPath(file.filename).suffix.lower()
    return suffix if any(suffix in suffixes for suffixes in _SUFFIXES.values()) else ""


def _read_file(entry: Any) -> StoredFile | None:
    fields = table(entry)
    filename, subfolder, folder_type, format_ = (
        str(fields.get(name) or "") for name in ("filename", "subfolder", "type", "format")
    )
    return StoredFile(filename, subfolder, folder_type or "output", format_) if filename else None


def _kind_of(file: StoredFile) -> FileKind | None:
    suffix = suffix_of(file)
    for kind, suffixes in _SUFFIXES.items():
        if suffix in suffixes or (not suffix and file.format.startswith(f"{kind}/")):
            return kind
    return None
