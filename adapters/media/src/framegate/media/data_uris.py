"""Decode the files that requests hold as text: base64 and data URIs, at a cost that their limit bounds."""

import string
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from framegate.core.errors import InvalidMedia

MAX_PERCENT_ENCODED = 2**20
"""Characters of a data URI's data without base64: each escape becomes an object of its own for a moment."""

_SCHEME = "data:"
_LONGEST_TYPE = 200
_PIECE = 256 * 1024
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = string.whitespace.encode()
_ESCAPED = {
    b"%2B": b"+",
    b"%2F": b"/",
    b"%3D": b"=",
    b"%2D": b"-",
    b"%5F": b"_",
    b"%09": b"",
    b"%0A": b"",
    b"%0D": b"",
    b"%20": b"",
}
"""What programs escape in a data URI's base64; letters and digits need not be."""


def decode_base64(text: str, *, max_bytes: int) -> bytes:
    """Decode a data URI, or base64 in either alphabet, padded or not, with any white space.

    Its peak memory, besides ``text``, is at most about twice ``max_bytes``.

    Raises:
        InvalidMedia: ``text`` is neither, holds no data, or a file of more than ``max_bytes``.
    """
    if len(text) > 2 * max_bytes + _LONGEST_TYPE:  # a third more for base64, and much white space
        raise _too_large(max_bytes)
    if not text.isascii():
        raise InvalidMedia("This is neither base64 nor a data URI: it holds characters other than ASCII.")
    text = text.strip()
    data_type, start = _split_type(text)
    if data_type is None or data_type.rpartition(";")[2].strip() == "base64":
        data = _from_base64(text, start, max_bytes, escapes=data_type is not None)
    elif len(text) - start > MAX_PERCENT_ENCODED:
        raise InvalidMedia(
            f"This data URI has {len(text) - start:,} characters; without base64 at most "
            f"{MAX_PERCENT_ENCODED:,} are accepted. Send it as data:TYPE;base64,…"
        )
    else:
        data = unquote_to_bytes(text[start:])
    if not data:
        raise InvalidMedia("This file is empty: there is nothing behind its base64 or data URI.")
    return data


def _split_type(text: str) -> tuple[str | None, int]:
    """Return a data URI's type and where its data begin; no type if it is not a data URI."""
    head = text[: len(_SCHEME) + _LONGEST_TYPE + 1].lower()
    if not head.startswith(_SCHEME) or (comma := head.find(",")) < 0:
        return None, 0
    return head[len(_SCHEME) : comma], comma + 1


def _from_base64(text: str, start: int, max_bytes: int, *, escapes: bool) -> bytes:
    """Decode piece by piece: what takes long in one call keeps all other threads waiting, and memory."""
    pieces: list[bytes] = []
    size, letters = 0, b""
    try:
        for piece in _letters(text, start, escapes=escapes):
            letters += piece
            whole = max(0, len(letters) - 2) // 4 * 4  # the end, which may be padded, is left
            if b"=" in letters[:whole]:
                raise Base64Error
            pieces.append(a2b_base64(letters[:whole], strict_mode=True))
            letters, size = letters[whole:], size + len(pieces[-1])
            if size > max_bytes:
                raise _too_large(max_bytes)
        padding = len(letters) - len(letters.rstrip(b"="))
        if padding > 2:
            raise Base64Error
        letters = letters[: len(letters) - padding]
        pieces.append(a2b_base64(letters + b"=" * (-len(letters) % 4), strict_mode=True))
    except Base64Error:
        raise InvalidMedia("This is neither base64 nor a data URI (data:image/png;base64,…).") from None
    if size + len(pieces[-1]) > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(pieces)


def _letters(text: str, start: int, *, escapes: bool) -> Iterator[bytes]:
    """Yield base64 in its first alphabet, without white space; with ``escapes`` they are undone."""
    rest = b""
    for at in range(start, len(text), _PIECE):
        letters = rest + text[at : at + _PIECE].encode("ascii")
        rest = b""
        if escapes and b"%" in letters:
            if at + _PIECE < len(text) and (cut := letters.rfind(b"%", -2)) >= 0:
                letters, rest = letters[:cut], letters[cut:]
            for escaped, plain in _ESCAPED.items():
                letters = letters.replace(escaped, plain).replace(escaped.lower(), plain)
        yield letters.translate(_URLSAFE, _WHITE_SPACE)


def _too_large(max_bytes: int) -> InvalidMedia:
    return InvalidMedia(f"This file is too large; at most {max_bytes / 2**20:g} MiB are accepted.")
