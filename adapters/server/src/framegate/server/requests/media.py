"""Decide what a text is that names an image or a video: a URL, a data URI, base64, an id, or a path."""

import re
from typing import TypeAlias

from msgspec import Meta, Struct

from framegate.core.errors import InvalidMedia
from framegate.core.ports import Base64Source, FileSource, UrlSource
from framegate.media.network.urls import MAX_URL

MEDIA_MARK = "media"
MEDIA = Meta(extra={MEDIA_MARK: True})
"""Marks the type of a body's field that may hold base64 or a data URI: ``Annotated[str, MEDIA]``.

Bodies without such a field may have no more than `framegate.server.requests.body_limits.MAX_PLAIN` bytes.
"""

_URL_STARTS = ("http://", "https://")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,30}):")  # a single letter is a drive of Windows
_ID = re.compile(r"(?:file|video|task)[-_][\w-]{1,200}", re.ASCII)
_SHORTEST_BASE64 = 64
"""The characters of base64 below which no image or video fits."""


class IdText(Struct, frozen=True):
    """The id of something that the server may keep."""

    text: str


class PathText(Struct, frozen=True):
    """The path of a file."""

    text: str


MediaText: TypeAlias = FileSource | IdText | PathText


def read_media_text(text: str) -> MediaText:
    """Return what ``text`` names; blanks around it are ignored.

    Base64 has no dot, so a text with one is a path, and so is one that is too short to hold a file.

    Raises:
        InvalidMedia: It is a URL whose scheme is neither http, https nor data, or a very long one.
    """
    text = text.strip()
    start = text[:40].lower()
    if start.startswith(_URL_STARTS):
        if len(text) > MAX_URL:
            raise InvalidMedia(f"The URL has {len(text):,} characters; at most {MAX_URL:,} are accepted.")
        return UrlSource(text)
    if start.startswith("data:"):
        return Base64Source(text)
    if scheme := _SCHEME.match(start):
        raise InvalidMedia(f"The URL's scheme is {scheme[1]!r}; only http and https URLs are fetched.")
    if _ID.fullmatch(text[:210]):
        return IdText(text)
    if "." in text or text.startswith("~") or len(text) < _SHORTEST_BASE64:
        return PathText(text)
    return Base64Source(text)


def is_url(text: str) -> bool:
    """Return whether ``text`` is an http(s) URL, for fields that take nothing else, or anything but one."""
    return text.strip()[:40].lower().startswith(_URL_STARTS)


def media_source(text: str, param: str | None = None) -> FileSource:
    """Return the source that ``text`` names, where files and ids of this server can't be named.

    Raises:
        InvalidMedia: It is neither an http(s) URL, a data URI nor base64; ``param`` is its field.
    """
    try:
        found = read_media_text(text)
    except InvalidMedia as error:
        error.param = param
        raise
    match found:
        case IdText():
            raise InvalidMedia(
                f"{found.text[:100]!r} is an id, but no files are kept here; send an http(s) URL, a data "
                "URI or base64.",
                param=param,
            )
        case PathText():
            raise InvalidMedia(
                f"{found.text[:100]!r} is neither an http(s) URL, a data URI nor base64.", param=param
            )
        case _:
            return found
