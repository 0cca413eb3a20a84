"""JPEGs of many scans, each of which costs a pass over the whole image."""

import io
import os
import time

import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import decode_image
from framegate.media.images.jpeg_scans import MAX_SCANS, count_scans
from tests.support.attacking.media import scan_bomb


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((640, 480), 60).convert("RGB").save(buffer, "JPEG", **options)
    return buffer.getvalue()


BASELINE, PROGRESSIVE = jpeg(), jpeg(progressive=True)


def test_ordinary_ones_have_few() -> None:
    assert count_scans(BASELINE) == 1
    assert 2 < count_scans(PROGRESSIVE) < 20


def test_twelve_thousand_scans_are_refused_at_once() -> None:
    bomb = scan_bomb(12_000)
    started = time.process_time()
    with pytest.raises(InvalidMedia, match="more than 100 scans"):
        decode_image(bomb)
    assert time.process_time() - started < 1.0, "it would take minutes"


def test_as_many_as_are_accepted() -> None:
    assert decode_image(scan_bomb(MAX_SCANS - 1, side=64)).width == 64
    with pytest.raises(InvalidMedia, match="scans"):
        decode_image(scan_bomb(MAX_SCANS, side=64))


@pytest.mark.parametrize("marker", [0x02, 0x4F, 0xBF])
def test_reserved_markers_hide_no_scans(marker: int) -> None:
    bomb = scan_bomb(2 * MAX_SCANS, side=64)
    first = bomb.index(b"\xff\xda") + 10
    hiding = bytes((0xFF, marker, 0xFF, 0xFE))  # as a segment it would reach over all scans
    assert count_scans(bomb[:first] + hiding + bomb[first:]) > MAX_SCANS


@pytest.mark.parametrize("image", [BASELINE, PROGRESSIVE], ids=["baseline", "progressive"])
def test_what_is_no_scan_of_the_image_does_not_count(image: bytes) -> None:
    thumbnails = b"\xff\xda\x00\x08" * 10_000
    segment = b"\xff\xed" + (len(thumbnails) + 2).to_bytes(2, "big") + thumbnails
    with_segment = image[:2] + segment + image[2:]
    motion_photo = image + os.urandom(1_000) + b"\xff\xda" * 1_000
    for data in (with_segment, motion_photo):
        assert count_scans(data) == count_scans(image)
        assert decode_image(data).width == 640


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5_000_000,
        b"\xff\xd8" + b"\xff\x01" * 5_000_000,
        b"\xff\xd8" + b"\xff" * 10_000_000,
        b"\xff\xd8" + b"\xff\x00" * 5_000_000,
        b"\xff\xd8" + b"\xff\xd0" * 5_000_000,
    ],
    ids=["empty segments", "markers without length", "fill bytes", "stuffed bytes", "restarts"],
)
def test_counting_takes_linear_time(data: bytes) -> None:
    started = time.process_time()
    count_scans(data)
    assert time.process_time() - started < 2.0
