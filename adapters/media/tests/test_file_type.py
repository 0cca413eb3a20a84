"""What kind of file an upload is."""

import pytest

from framegate.core.types import MediaKind
from framegate.media.file_type import detect_kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x20ftypisom", MediaKind.VIDEO),
        (b"\0\0\0\x14ftypqt  ", MediaKind.VIDEO),
        (b"\0\0\0\x08free\0\0\0\0mdat", MediaKind.VIDEO),
        (b"\x1a\x45\xdf\xa3....webm", MediaKind.VIDEO),
        (b"\0\0\0\x1cftypavif", MediaKind.IMAGE),
        (b"\x89PNG\r\n\x1a\n....", MediaKind.IMAGE),
        (b"\xff\xd8\xff\xe0", MediaKind.IMAGE),
        (b"RIFF\0\0\0\0WEBPVP8 ", MediaKind.IMAGE),
        (b"GIF89a", MediaKind.IMAGE),
        (b"", MediaKind.IMAGE),
    ],
)
def test_what_a_file_is(data: bytes, kind: MediaKind) -> None:
    assert detect_kind(data) == kind
