"""Bound the texts of a body before anything parses them: apart from images and videos, a body is small.

Most of what parsing costs is the number of a body's values, not its bytes: 16 MB of ``{"0":0,…}`` take a
gigabyte. A file as base64 or as a data URI is a single long value, and costs no more than its copy. So a
model marks the fields that may hold files with `framegate.server.requests.media.MEDIA`; its bodies may have
`MAX_PLAIN` bytes besides such texts. Bodies of all other models may have that many in all.
"""

import re
from functools import cache

from msgspec import Struct, inspect

from framegate.core.concurrency import PARSER_THREADS
from framegate.server.errors.error_info import BodyTooLarge
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.media import MEDIA_MARK

MAX_PLAIN = 2**20
"""The bytes of a body that are not media."""

MAX_VALUES = 2**15
"""The values of a JSON text: small ones take fifty times their bytes, and nothing else runs meanwhile."""

LARGE = 64 * 1024
"""The bytes of a body above which its parsing may take more than a moment, so that it is done in a thread."""

_SHORTEST_MEDIA = 1024
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_HEADER = 256
"""A data URI's type may hold other characters than its data."""
_WIDE = re.compile(rb"[\xc4-\xff]|\\u(?:[^0]|0[^0])")
_WIDE_ESCAPE = re.compile(rb"\\u(?:[^0]|0[^0])")
"""Characters beyond Latin-1, of which a single one lets a text of 100 MB take up to 400."""
_LONGEST_ESCAPE = 6
_PIECE = 64 * 1024
_MEDIA_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.~%\\\r\n"
"""Those of base64 in both alphabets and of data URIs, and the backslashes with which JSON escapes some."""


def max_json_bytes(model: type[Struct]) -> int | None:
    """Return the bytes that a body of ``model`` may have in all; None if it may hold media."""
    return None if takes_media(model) else MAX_PLAIN


@cache
def takes_media(model: type[Struct]) -> bool:
    """Return whether a field of ``model``, at any depth, may hold media."""
    return _takes_media(inspect.type_info(model), set())


def _takes_media(kind: inspect.Type, seen: set[type]) -> bool:
    match kind:
        case inspect.Metadata():
            return MEDIA_MARK in (kind.extra or ()) or _takes_media(kind.type, seen)
        case inspect.UnionType():
            return any(_takes_media(one, seen) for one in kind.types)
        case inspect.ListType():
            return _takes_media(kind.item_type, seen)
        case inspect.DictType():
            return _takes_media(kind.value_type, seen)
        case inspect.StructType() if kind.cls not in seen:
            seen.add(kind.cls)
            return any(_takes_media(field.type, seen) for field in kind.fields)
        case _:
            return False


def check_json_size(raw: bytes) -> None:
    """Refuse a JSON text with more than `MAX_PLAIN` bytes besides media, or `MAX_VALUES`. Its cost is linear.

    Raises:
        BodyTooLarge: It has more bytes.
        InvalidFields: It has more values.
    """
    if len(raw) > MAX_PLAIN and plain_bytes(raw) > MAX_PLAIN:
        raise too_large()
    # Texts may have as many commas as they like, so they are looked for only if there are many.
    if _count_separators(raw, 0, len(raw)) > MAX_VALUES and _count_values(raw) > MAX_VALUES:
        raise _too_many_values()


def _count_values(raw: bytes) -> int:
    """Return about how many values a JSON text has; above `MAX_VALUES` it stops counting."""
    values = end = 0
    for text in _STRING.finditer(raw):
        values += _count_separators(raw, end, text.start())
        end = text.end()
        if values > MAX_VALUES:
            return values
    return values + _count_separators(raw, end, len(raw))


def _count_separators(raw: bytes, start: int, end: int) -> int:
    return raw.count(b",", start, end) + raw.count(b"[", start, end) + raw.count(b"{", start, end)


def _too_many_values() -> InvalidFields:
    return InvalidFields([FieldError((), "json_invalid", f"The body has more than {MAX_VALUES:,} values")])


class TextSizes:
    """Add up the texts of a form, which may have `MAX_PLAIN` bytes, besides media if it may hold some.

    Those that are JSON may have `MAX_VALUES` together.
    """

    def __init__(self, *, media: bool) -> None:
        self._media = media
        self._plain = 0
        self._values = 0

    def require_possible(self, size: int) -> None:
        """Refuse a text of ``size`` bytes before it is read, if it is too large whatever it holds.

        Raises:
            BodyTooLarge: It is.
        """
        if not self._media and self._plain + size > MAX_PLAIN:
            raise too_large(media=False)

    async def add(self, text: bytes) -> None:
        """Count a text, which may be JSON.

        Raises:
            BodyTooLarge: The texts are too large by now.
        """
        if not self._media or len(text) < _SHORTEST_MEDIA:
            self._plain += len(text)
        elif not is_media(text):
            self._plain += await PARSER_THREADS.run(plain_bytes, text)
        if self._plain > MAX_PLAIN:
            raise too_large(media=self._media)

    def add_values(self, text: bytes) -> None:
        """Count the values of a text that is JSON.

        Raises:
            InvalidFields: There are too many by now.
        """
        self._values += _count_values(text)
        if self._values > MAX_VALUES:
            raise _too_many_values()


def too_large(*, media: bool = True) -> BodyTooLarge:
    """Return the error for a body with too much text."""
    apart = "apart from images and videos, " if media else ""
    return BodyTooLarge(f"The request body is too large: {apart}it may have {MAX_PLAIN:,} bytes.")


def plain_bytes(raw: bytes) -> int:
    """Return how many bytes of a JSON text don't belong to media; above `MAX_PLAIN` it stops counting."""
    plain = position = 0
    inside = False  # a string
    while plain <= MAX_PLAIN:
        quote = raw.find(b'"', position)
        if quote < 0:
            return plain + len(raw) - position
        is_media = inside and _is_media(raw, position, quote)
        plain += 1 if is_media else quote - position + 1
        if not (inside and _is_escaped(raw, position, quote)):
            inside = not inside
        position = quote + 1
    return plain


def _is_escaped(raw: bytes, start: int, quote: int) -> bool:
    if quote == start or raw[quote - 1] != ord("\\"):
        return False
    piece = raw[start:quote]
    return (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1


def is_media(text: bytes) -> bool:
    """Return whether a text is long, and nothing but base64 or a data URI."""
    return _is_media(text, 0, len(text))


def _is_media(raw: bytes, start: int, end: int) -> bool:
    """Return whether the text between two places is long, and is nothing but base64 or a data URI."""
    if end - start < _SHORTEST_MEDIA or _WIDE.search(raw, start, start + _HEADER):
        return False
    return not any(
        raw[max(at, start + _HEADER) : min(at + _PIECE, end)].translate(None, _MEDIA_CHARACTERS)
        or _WIDE_ESCAPE.search(raw, at, min(at + _PIECE + _LONGEST_ESCAPE, end))
        for at in range(start, end, _PIECE)
    )
