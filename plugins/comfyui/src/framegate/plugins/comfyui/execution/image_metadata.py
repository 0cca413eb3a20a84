"""Strip images of everything but their pixels: texts, EXIF, XMP, comments.

Whole chunks of a file are left out, and nothing is encoded again. The chunks to keep are listed, not those
to drop, because programs that save images invent chunks of their own. Sources: PNG 3 (chunks), ISO 10918-1
annex B (JPEG's markers), RFC 9649 (WebP).
"""

from collections.abc import Iterator

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT_CHUNKS = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD pHYs".split(),
)
_JPEG_START = b"\xff\xd8"
_JPEG_END, _JPEG_SCAN, _JPEG_COMMENT = 0xD9, 0xDA, 0xFE
_JPEG_APPLICATION = range(0xE0, 0xF0)
_JPEG_KEPT_APPLICATION = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_WEBP_KEPT_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_METADATA_FLAGS = 0x0C
"""The flags of VP8X that announce EXIF and XMP."""


def strip_image_metadata(data: bytes) -> bytes:
    """Return the image file without its metadata; colour profiles are kept.

    Raises:
        ValueError: The data is not a PNG, JPEG or WebP, or is truncated.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _PNG_SIGNATURE + b"".join(_png_chunks(data))
    if data.startswith(_JPEG_START):
        return _JPEG_START + b"".join(_jpeg_segments(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_webp_chunks(data))
        return b"RIFF" + len(body).to_bytes(4, "little") + body
    raise ValueError("the data is not a PNG, JPEG or WebP")


def _png_chunks(data: bytes) -> Iterator[bytes]:
    start, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        _check_length(data, end)
        if kind in _PNG_KEPT_CHUNKS:
            yield data[start:end]
        start = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    start, marker = len(_JPEG_START), 0
    while marker != _JPEG_END:
        _check_length(data, start + 2)
        if data[start] != 0xFF:
            raise ValueError("a JPEG marker is missing")
        marker = data[start + 1]
        if marker == 0xFF:  # a fill byte before a marker
            start += 1
            continue
        if marker == _JPEG_END:
            end = start + 2
        else:
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            _check_length(data, max(end, start + 4))
        if marker == _JPEG_SCAN:
            end = _scan_end(data, end)
        if _is_kept(marker, data[start + 4 : end]):
            yield data[start:end]
        start = end


def _is_kept(marker: int, content: bytes) -> bool:
    if marker in _JPEG_APPLICATION:
        return marker in _JPEG_KEPT_APPLICATION and content.startswith(_JPEG_KEPT_APPLICATION[marker])
    return marker != _JPEG_COMMENT


def _scan_end(data: bytes, start: int) -> int:
    """Return where the next marker is that does not belong to the pixels (an escaped byte or a restart)."""
    at = data.find(b"\xff", start)
    while 0 <= at < len(data) - 1 and (data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7):
        at = data.find(b"\xff", at + 2)
    if not 0 <= at < len(data) - 1:
        raise ValueError("the file is truncated")
    return at


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    start, total = 12, 8 + int.from_bytes(data[4:8], "little")
    _check_length(data, total)
    while start < total:
        kind, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        end = start + 8 + size + size % 2
        _check_length(data, end)
        if kind == b"VP8X":
            flags = data[start + 8] & ~_WEBP_METADATA_FLAGS
            yield data[start : start + 8] + bytes([flags]) + data[start + 9 : end]
        elif kind in _WEBP_KEPT_CHUNKS:
            yield data[start:end]
        start = end


def _check_length(data: bytes, end: int) -> None:
    if end > len(data):
        raise ValueError("the file is truncated")
