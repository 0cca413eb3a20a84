"""Detect what a file is by its first bytes: the names and content types of uploads prove nothing."""

from framegate.core.types import MediaKind

_IMAGE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})
_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})


def detect_kind(data: bytes) -> MediaKind:
    """Return VIDEO for MP4, MOV, WebM and MKV, else IMAGE, which its decoder may yet refuse."""
    if data[4:8] == b"ftyp" and data[8:12] in _IMAGE_BRANDS:
        return MediaKind.IMAGE
    if data[4:8] in _ATOMS or data.startswith(b"\x1a\x45\xdf\xa3"):
        return MediaKind.VIDEO
    return MediaKind.IMAGE
