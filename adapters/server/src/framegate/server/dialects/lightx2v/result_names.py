"""The names of results: those that clients choose, and those by which they fetch them. Pure."""

import posixpath
import re

from framegate.core.jobs import LOOKUP_LABEL
from framegate.core.types import MediaKind

RESULT_NAME = LOOKUP_LABEL
"""The label of a job whose client has chosen its result's name."""

MAX_REQUESTED = 4096
"""Characters of a path that a client may choose."""
MAX_NAME = 512
"""Characters of the name that is kept of it."""

_ENCODED = re.compile(r"%[0-9a-fA-F]{2}")
_ELSEWHERE = re.compile(r"/|~|[^/]*:|(?:.*/)?\.\.(?:/|$)")
"""What begins a path that leads out of the output folder: a root, a home, a drive, a scheme, or ".."."""


def result_name(requested: str, kind: MediaKind) -> str:
    """Return the name under which a result is found again: relative, normalised, with its kind's suffix.

    Of a path that leads out of the output folder only the last part counts, which is what the real server's
    clients find it by.

    Raises:
        ValueError: It does not end in a file name, or can't be part of a download's path.
    """
    if not requested.isprintable() or _ENCODED.search(requested):
        raise ValueError("Input should not contain control characters or percent-encoded ones")
    path = requested.replace("\\", "/")
    name = posixpath.normpath(path)
    if _ELSEWHERE.match(path):
        name = posixpath.basename(name)
    if name in ("", ".", "..", "~") or name.endswith(":"):
        raise ValueError("Input should end in a file name")
    if len(name) > MAX_NAME:
        raise ValueError(f"Input should have at most {MAX_NAME} characters")
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


_ESCAPES = re.compile(r"[\\\x00-\x1f\x7f]|%[0-9a-fA-F]{2}")


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


def task_id_in(name: str) -> str:
    """Return the id in a default name ("ID.mp4", or "ID" before there is a file); empty if there is none."""
    stem, dot, suffix = name.rpartition(".")
    if "/" in name:
        return ""
    return stem if dot and f".{suffix.lower()}" in (".mp4", ".png") else name
