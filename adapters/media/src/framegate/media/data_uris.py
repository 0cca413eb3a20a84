"""Decode the files that requests hold as text: base64 and data URIs, at a cost that their limit bounds."""

import string
from binascii import Error as Base64Error
from binascii import a2b_base64
from urllib.parse import unquote_to_bytes

from framegate.core.errors import InvalidMedia

MAX_PERCENT_ENCODED = 2**20
"""Characters of a data URI's data without base64: each escape becomes an object of its own for a moment."""

_SCHEME = "data:"
_LONGEST_TYPE = 200
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

    Its peak memory, besides ``text``, is at most about three times ``max_bytes``.

    Raises:
        InvalidMedia: ``text`` is neither, holds no data, or a file of more than ``max_bytes``.
    """
    if len(text) > 2 * max_bytes + _LONGEST_TYPE:  # a third more for base64, and much white space
        raise _too_large(max_bytes)
    if not text.isascii():
        raise InvalidMedia("This is neither base64 nor a data URI: it holds characters other than ASCII.")
    letters = text.strip().encode("ascii")
    data_type, letters = _split_type(letters)
    if data_type is None or data_type.rpartition(";")[2].strip() == "base64":
        data = _from_base64(letters, max_bytes, escapes=data_type is not None)
    elif len(letters) > MAX_PERCENT_ENCODED:
        raise InvalidMedia(
            f"This data URI has {len(letters):,} characters; without base64 at most "
            f"{MAX_PERCENT_ENCODED:,} are accepted. Send it as data:TYPE;base64,…"
        )
    else:
        data = unquote_to_bytes(letters)
    if not data:
        raise InvalidMedia("This file is empty: there is nothing behind its base64 or data URI.")
    return data


def _split_type(letters: bytes) -> tuple[str | None, bytes]:
    """Return a data URI's type and data; without a type if it is not a data URI."""
    head = letters[: len(_SCHEME) + _LONGEST_TYPE + 1].decode("ascii").lower()
    if not head.startswith(_SCHEME) or (comma := head.find(",")) < 0:
        return None, letters
    return head[len(_SCHEME) : comma], letters[comma + 1 :]


def _from_base64(letters: bytes, max_bytes: int, *, escapes: bool) -> bytes:
    if escapes and b"%" in letters:
        for escaped, plain in _ESCAPED.items():
            letters = letters.replace(escaped, plain).replace(escaped.lower(), plain)
    letters = letters.translate(_URLSAFE, _WHITE_SPACE)
    padding = len(letters[-3:]) - len(letters[-3:].rstrip(b"="))
    length = len(letters) - padding
    if length * 3 // 4 > max_bytes:
        raise _too_large(max_bytes)
    try:
        if padding > 2:
            raise Base64Error
        if len(letters) % 4:
            letters = letters[:length] + b"=" * (-length % 4)
        return a2b_base64(letters, strict_mode=True)
    except Base64Error:
        raise InvalidMedia("This is neither base64 nor a data URI (data:image/png;base64,…).") from None


def _too_large(max_bytes: int) -> InvalidMedia:
    return InvalidMedia(f"This file is too large; at most {max_bytes / 2**20:g} MiB are accepted.")
