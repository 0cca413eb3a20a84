"""Small files that ask for a lot: each is refused, or decoded within the limits."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# Pillow has no types for the profiles that ImageCms makes.

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from framegate.core.errors import InvalidMedia
from framegate.media.decoding.pool import DecoderPool, open_decoders
from framegate.media.decoding.tasks import DecodeImage, DecoderLimits
from tests.support.attacking.media import scan_bomb


def png(chunks: bytes = b"", *, width: int = 32, height: int = 32, data: bytes | None = None) -> bytes:
    raw = zlib.compress(b"\0" * (height * (width * 3 + 1))) if data is None else data
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", raw) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deflated(size: int) -> bytes:
    """Return that many zeros in a thousandth of the size."""
    compressor, zeros = zlib.compressobj(9), bytes(2**20)
    return b"".join(compressor.compress(zeros) for _ in range(size >> 20)) + compressor.flush()


BOMB = deflated(160 * 2**20)


def directory(entries: int, size: int) -> bytes:
    """Return a TIFF directory whose entries all hold the same ``size`` bytes."""
    start = 8 + 2 + entries * 12 + 4
    rows = b"".join(struct.pack("<HHII", tag, 7, size, start) for tag in range(1000, 1000 + entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + rows + bytes(4 + size)


def tiff(tags: dict[int, tuple[int, int, int]], strip: bytes) -> bytes:
    start = 8 + 2 + (len(tags) + 1) * 12 + 4
    tags = {**tags, 273: (4, 1, start)}
    rows = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + strip


def jpeg_in_tiff() -> bytes:
    """Return a TIFF whose only strip is a JPEG of very many scans."""
    side, strip = 4000, scan_bomb(3_000, side=4000)
    short, long = 3, 4
    tags = {
        256: (long, 1, side),
        257: (long, 1, side),
        258: (short, 1, 8),
        259: (short, 1, 7),
        262: (short, 1, 1),
        277: (short, 1, 1),
        278: (long, 1, side),
        279: (long, 1, len(strip)),
    }
    return tiff(tags, strip)


def many_frames() -> bytes:
    """Return an animation of which every frame but the first is broken."""
    buffer = io.BytesIO()
    frames = [Image.new("P", (32, 32), number % 255) for number in range(50)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()[:-20] + b"\x2c" * 1_000_000


def run_lengths() -> bytes:
    """Return a BMP of 49 million pixels, of which the decoder reads each run by itself."""
    side = 7000
    runs = b"\x01\x00" * 12_000_000
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    offset = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + bytes(1024) + runs


def with_profile(profile: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG", icc_profile=profile)
    return buffer.getvalue()


def broken_profile() -> bytes:
    """Return a profile that says it has two billion tags."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:128] + b"\x7f\xff\xff\xff" + profile[132:]


SMALL = "a size of 32×32"
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "pixels that need much memory": (
        lambda: png(width=7000, height=7000, data=BOMB),
        "needs more than 512 MiB",
    ),
    "pixels that unpack to more than the image": (lambda: png(data=BOMB), SMALL),
    "too many pixels": (lambda: png(width=60_000, height=60_000, data=b""), "3600 megapixels"),
    "compressed text": (lambda: png(chunk(b"zTXt", b"a\0\0" + BOMB)), "damaged"),
    "compressed international text": (lambda: png(chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB)), "damaged"),
    "very many texts": (lambda: png(chunk(b"tEXt", b"a\0b") * 50_000), SMALL),
    "a compressed colour profile": (lambda: png(chunk(b"iCCP", b"a\0\0" + BOMB)), "damaged"),
    "a broken colour profile": (lambda: with_profile(broken_profile()), SMALL),
    "metadata of which each entry is the whole": (
        lambda: png(chunk(b"eXIf", directory(5_000, 2**20))),
        SMALL,
    ),
    "a TIFF of which each entry is the whole": (lambda: directory(5_000, 2**20), "not an image"),
    "a TIFF of a JPEG of many scans": (jpeg_in_tiff, "damaged"),
    "an animation with broken frames": (many_frames, "damaged"),
    "run lengths": (run_lengths, "took longer than 3 s|3 s of processor time"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit memory")
@pytest.mark.parametrize("name", FILES)
async def test_a_file(tmp_path: Path, name: str) -> None:
    make, outcome = FILES[name]
    source, target = tmp_path / "source", tmp_path / "target.png"
    source.write_bytes(make())
    async with open_decoders(2, DecoderLimits(timeout=3.0, memory=512 * 2**20)) as pool:
        found = await decoded(pool, DecodeImage(source, target))
        assert re.search(outcome, found), found
        assert str(tmp_path) not in found
        source.write_bytes(png())
        assert await decoded(pool, DecodeImage(source, target)) == SMALL


async def decoded(pool: DecoderPool, task: DecodeImage) -> str:
    """Return what became of a file."""
    try:
        info = await pool.run(task, owner="a")
    except InvalidMedia as refusal:
        return refusal.message
    return f"a size of {info.width}×{info.height}"
