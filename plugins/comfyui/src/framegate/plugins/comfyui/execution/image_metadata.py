"""Pictures without what is written beside their pixels: texts, EXIF, XMP, comments.

Whole parts of the files are left out, and nothing is encoded again. What is kept is named, for those who save
pictures make up chunks of their own. Sources: PNG 3 (chunks), ISO 10918-1 annex B (JPEG's markers), RFC 9649
(WebP).
"""

from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD pHYs".split(),
)
_JPEG = b"\xff\xd8"
_JPEG_END, _JPEG_SCAN, _JPEG_COMMENT = 0xD9, 0xDA, 0xFE
_JPEG_APPLICATION = range(0xE0, 0xF0)
_JPEG_KEPT = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_TELLS = 0x0C
"""In the flags of VP8X: there is EXIF, there is XMP."""


def without_texts(data: bytes) -> bytes:
    """Raises:
    ValueError: it is no PNG, JPEG or WebP, or one that is cut off.
    """
    if data.startswith(_PNG):
        return _PNG + b"".join(_png_chunks(data))
    if data.startswith(_JPEG):
        return _JPEG + b"".join(_jpeg_segments(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_webp_chunks(data))
        return b"RIFF" + len(body).to_bytes(4, "little") + body
    raise ValueError("neither a PNG nor a JPEG nor a WebP")


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        _check(end, data)
        if kind in _PNG_KEPT:
            yield data[at:end]
        at = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    at, marker = len(_JPEG), 0
    while marker != _JPEG_END:
        _check(at + 2, data)
        if data[at] != 0xFF:
            raise ValueError("a JPEG's marker is missing")
        marker = data[at + 1]
        if marker == 0xFF:  # they may be filled up
            at += 1
            continue
        if marker == _JPEG_END:
            end = at + 2
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            _check(max(end, at + 4), data)
        if marker == _JPEG_SCAN:
            end = _scan_end(data, end)
        if _is_kept(marker, data[at + 4 : end]):
            yield data[at:end]
        at = end


def _is_kept(marker: int, content: bytes) -> bool:
    if marker in _JPEG_APPLICATION:
        return marker in _JPEG_KEPT and content.startswith(_JPEG_KEPT[marker])
    return marker != _JPEG_COMMENT


def _scan_end(data: bytes, start: int) -> int:
    """Where the next marker is that is none of the pixels' own."""
    at = data.find(b"\xff", start)
    while 0 <= at < len(data) - 1 and (data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7):
        at = data.find(b"\xff", at + 2)
    if not 0 <= at < len(data) - 1:
        raise ValueError("the file is cut off")
    return at


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    at, whole = 12, 8 + int.from_bytes(data[4:8], "little")
    _check(whole, data)
    while at < whole:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        _check(end, data)
        if kind == b"VP8X":
            yield data[at : at + 8] + bytes([data[at + 8] & ~_WEBP_TELLS]) + data[at + 9 : end]
        elif kind in _WEBP_KEPT:
            yield data[at:end]
        at = end


def _check(end: int, data: bytes) -> None:
    if end > len(data):
        raise ValueError("the file is cut off")
