"""Images of any content."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from framegate.plugins.comfyui.execution.image_metadata import strip_image_metadata


@given(st.binary(max_size=200), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\x20\0\0\0WEBP"]))
def test_any_bytes_are_read_or_refused(data: bytes, beginning: bytes) -> None:
    with suppress(ValueError):
        assert len(strip_image_metadata(beginning + data)) <= len(beginning + data)
