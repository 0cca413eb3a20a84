"""The names of results: those that clients choose, and those by which they fetch them. Pure."""

import posixpath
import re

from framegate.core.jobs import LOOKUP_LABEL
from framegate.core.types import MediaKind

RESULT_NAME = LOOKUP_LABEL
"""The label of a job whose client has chosen its result's name."""


def result_name(requested: str, kind: MediaKind) -> str:
    """Return the name under which a result is found again: relative, normalised, with its kind's suffix.

    Raises:
        ValueError: The name leaves the output folder, or does not end in a file name.
    """
    if not requested.isprintable() or "\\" in requested or "%" in requested:
        raise ValueError("Input should not contain control characters, backslashes or percent signs")
    if requested.startswith(("/", "~")) or ":" in requested.split("/", 1)[0] or ".." in requested.split("/"):
        raise ValueError("Input should be a relative name within the output folder")
    name = posixpath.normpath(requested)
    if name == ".":
        raise ValueError("Input should end in a file name")
    suffix = suffix_of(kind)
    return name if name.lower().endswith(suffix) else name + suffix


def suffix_of(kind: MediaKind) -> str:
    """Return the suffix of a result's file."""
    return ".mp4" if kind == MediaKind.VIDEO else ".png"


def folder_of(kind: MediaKind) -> str:
    """Return the folder of results, as clients see it."""
    return "outputs/videos" if kind == MediaKind.VIDEO else "outputs/images"


class ForbiddenPath(Exception):
    """A download path leaves the output folder."""


_ESCAPES = re.compile(r"[\\%\x00-\x1f\x7f]")


def download_names(path: str, output_root: str) -> list[str]:
    """Return the result names that a download path may mean, the likeliest first.

    ``path`` is the decoded rest of the URL, ``output_root`` the absolute path under which clients may know
    the output folder. Names are looked up among results; no file is opened by them.

    Raises:
        ForbiddenPath: The path leaves the output folder.
    """
    if _ESCAPES.search(path) or ".." in path.split("/"):
        raise ForbiddenPath
    name = posixpath.normpath("/" + path.lstrip("/")).lstrip("/")
    inside = name.removeprefix(f"{output_root.strip('/')}/")
    if inside != name:
        name = f"outputs/{inside}"
    folders = (f"{folder_of(kind)}/" for kind in MediaKind)
    return [name, *(name.removeprefix(folder) for folder in folders if name.startswith(folder))]


def job_id_in(name: str) -> str | None:
    """Return the id in a default name ("ID.mp4"), or None."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (".mp4", ".png") and "/" not in name else None
