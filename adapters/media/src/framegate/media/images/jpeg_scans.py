"""Count the scans of a JPEG, each of which costs a pass over the whole image."""

import re

from framegate.core.errors import InvalidMedia

MAX_SCANS = 100
"""A progressive JPEG has about ten; only hostile ones have hundreds."""
_MAX_SEGMENTS = 20_000
_START = b"\xff\xd8"
_SOS, _EOI = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({*range(0x01, 0xC0), *range(0xD0, 0xD9)})
"""Of the reserved ones up to BF, libjpeg skips the two bytes alone where it looks for a restart marker."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan's data, in which a byte FF is followed by 00, or by one of the restart markers."""


def check_scans(data: bytes) -> None:
    """Refuse a JPEG of more than `MAX_SCANS` scans before it is decoded; everything else passes.

    Scans of thumbnails within other segments, and whatever follows the image, don't count.

    Raises:
        InvalidMedia: It has more scans.
    """
    if data.startswith(_START) and count_scans(data) > MAX_SCANS:
        raise InvalidMedia(f"This JPEG has more than {MAX_SCANS} scans; save it again as an ordinary one.")


def count_scans(data: bytes) -> int:
    """Return the number of scans of a JPEG; counting ends just above `MAX_SCANS`."""
    scans, position = 0, len(_START)
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None or scans > MAX_SCANS:
            return scans
        marker = data[found.start() + 1]
        if marker == _EOI:
            return scans
        scans += marker == _SOS
        position = found.end()
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
    return MAX_SCANS + 1
