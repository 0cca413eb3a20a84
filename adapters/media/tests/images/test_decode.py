# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# Pillow has no types for the profiles that ImageCms makes.

import resource
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import DataObject, binary, data, integers, sampled_from
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin, features

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import FORMATS, decode_image

WIDTH, HEIGHT = 64, 48


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Red on the left, green above, so that turning and mirroring show."""
    x = np.linspace(0, 255, size[0])[None, :].repeat(size[1], 0)
    y = np.linspace(0, 255, size[1])[:, None].repeat(size[0], 1)
    rgb = np.stack([x, y, np.full_like(x, 90)], -1).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> NDArray[np.int16]:
    """What `decode_image` made of a file, after a look at the file it made."""
    decoded = decode_image(content)
    with Image.open(BytesIO(decoded.data)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        assert image.size == (decoded.width, decoded.height)
        assert image.info == {}
        return np.asarray(image).astype(np.int16)


def off(content: bytes, expected: Image.Image) -> float:
    """The mean error of the decoded picture."""
    return float(np.abs(pixels(content) - np.asarray(expected).astype(np.int16)).mean())


def png(width: int, height: int, bits: int, color: int, rows: bytes) -> bytes:
    """A PNG made by hand, of kinds that Pillow doesn't write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


ENCODINGS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: saved(picture(), "PNG"),
    "JPEG": lambda: saved(picture(), "JPEG", quality=95),
    "progressive JPEG": lambda: saved(picture(), "JPEG", quality=95, progressive=True),
    "WebP": lambda: saved(picture(), "WEBP", quality=95),
    "lossless WebP": lambda: saved(picture(), "WEBP", lossless=True),
    "GIF": lambda: saved(picture(), "GIF"),
    "BMP": lambda: saved(picture(), "BMP"),
    "TIFF": lambda: saved(picture(), "TIFF"),
    "LZW TIFF": lambda: saved(picture(), "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": lambda: saved(picture(), "TIFF", compression="jpeg"),
}
if features.check("avif"):
    ENCODINGS["AVIF"] = lambda: saved(picture(), "AVIF", quality=95)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_formats(encoding: str) -> None:
    assert off(ENCODINGS[encoding](), picture()) < 9


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_png_modes(mode: str) -> None:
    image = picture(mode)
    assert off(saved(image, "PNG"), image.convert("RGB")) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_tiff_modes(mode: str) -> None:
    image = picture(mode)
    assert off(saved(image, "TIFF"), image.convert("RGB")) < 1


def test_lab_tiff() -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(picture(), to_lab)
    assert lab is not None
    assert off(saved(lab, "TIFF"), picture()) < 8


def test_cmyk_jpeg() -> None:
    image = picture("CMYK")
    assert off(saved(image, "JPEG", quality=95), image.convert("RGB")) < 4


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_16_bit_grey_keeps_its_range(byte_order: str) -> None:
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)[None, :].repeat(HEIGHT, 0)
    expected = Image.fromarray((ramp / 257).round().astype(np.uint8)).convert("RGB")
    assert off(saved(Image.fromarray(ramp), "PNG"), expected) < 1
    assert off(saved(Image.fromarray(ramp.astype(byte_order)), "TIFF"), expected) < 1


def test_16_bit_colour() -> None:
    ramp = np.linspace(0, 65535, WIDTH).astype(">u2")[None, :, None].repeat(HEIGHT, 0).repeat(3, 2)
    rows = b"".join(b"\0" + row.tobytes() for row in ramp)
    grey = (ramp[..., 0] / 257).round().astype(np.uint8)
    assert off(png(WIDTH, HEIGHT, 16, 2, rows), Image.fromarray(grey).convert("RGB")) < 1


@pytest.mark.parametrize("top", [200, 60_000, 2_000_000_000])
def test_32_bit_grey(top: int) -> None:
    ramp = np.linspace(0, top, WIDTH).astype(np.int32)[None, :].repeat(HEIGHT, 0)
    white = next((limit for limit in (255, 65535) if top <= limit), top)
    expected = Image.fromarray((ramp / white * 255).round().astype(np.uint8)).convert("RGB")
    assert off(saved(Image.fromarray(ramp), "TIFF"), expected) < 1


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_grey(top: float) -> None:
    ramp = np.linspace(0, top, WIDTH).astype(np.float32)[None, :].repeat(HEIGHT, 0)
    ramp[0, :3] = [np.nan, np.inf, -np.inf]
    grey = np.nan_to_num(ramp, posinf=0, neginf=0) / top * 255
    expected = Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    assert off(saved(Image.fromarray(ramp), "TIFF"), expected) < 1


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_transparency_becomes_white(file_format: str) -> None:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT))
    decoded = pixels(saved(image, file_format))
    assert (decoded[4, 4] > 250).all()
    assert np.abs(decoded[4, WIDTH - 4] - (200, 0, 0)).max() < 6


def test_half_transparency_is_mixed_with_white() -> None:
    decoded = pixels(saved(Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 128)), "PNG"))
    assert np.abs(decoded - 127).max() <= 1


@pytest.mark.parametrize(("mode", "key"), [("L", 0), ("RGB", (0, 0, 0)), ("P", 0), ("1", 0)])
def test_colour_keys_are_transparency(mode: str, key: object) -> None:
    image = Image.new(mode, (WIDTH, HEIGHT), 0)
    assert (pixels(saved(image, "PNG", transparency=key)) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", [name for name in FORMATS if name not in ("GIF", "BMP")])
def test_orientation_is_applied(orientation: int, file_format: str) -> None:
    backwards = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = picture()
    if orientation in backwards:
        stored = stored.transpose(backwards[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert off(saved(stored, file_format, exif=exif.tobytes()), picture()) < 9


def test_broken_exif_is_ignored() -> None:
    assert off(saved(picture(), "PNG", exif=b"Exif\0\0garbage"), picture()) == 0


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def test_colour_profiles_are_applied() -> None:
    red = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0))
    decoded = pixels(saved(red, "PNG", icc_profile=swapped_profile()))
    assert np.abs(decoded - (0, 0, 255)).max() <= 3


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert off(saved(picture(), "PNG", icc_profile=profile), picture()) < 1


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA"])
def test_rgb_profiles_of_other_modes(mode: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = picture(mode)
    assert off(saved(image, "PNG", icc_profile=profile), image.convert("RGB")) < 1


@pytest.mark.parametrize("profile", [b"garbage", swapped_profile()[:200], b"\0" * 4096])
def test_broken_profiles_are_ignored(profile: bytes) -> None:
    assert off(saved(picture(), "PNG", icc_profile=profile), picture()) == 0
    assert off(saved(picture("CMYK"), "JPEG", icc_profile=profile), picture("CMYK").convert("RGB")) < 5


def test_profiles_for_other_modes_are_ignored() -> None:
    image = picture("CMYK")
    assert off(saved(image, "TIFF", icc_profile=swapped_profile()), image.convert("RGB")) < 300
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert off(saved(picture(), "PNG", icc_profile=lab), picture()) == 0


def test_animations_give_their_first_frame() -> None:
    first, second = Image.new("RGB", (WIDTH, HEIGHT), "red"), Image.new("RGB", (WIDTH, HEIGHT), "blue")
    for file_format in ("GIF", "WEBP", "PNG", "TIFF"):
        decoded = pixels(saved(first, file_format, save_all=True, append_images=[second]))
        assert np.abs(decoded - (255, 0, 0)).max() < 6


def test_metadata_is_left_out() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "secret place")
    content = saved(picture(), "PNG", pnginfo=text, dpi=(300, 300))
    assert b"secret" in content
    assert b"secret" not in decode_image(content).data
    assert b"pHYs" not in decode_image(content).data


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "fitted"), [((6000, 1500), (4096, 1024)), ((1000, 8192), (500, 4096))])
def test_large_pictures_are_scaled_down(
    file_format: str, size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    content = saved(picture(size=size), file_format)
    assert off(content, picture(size=fitted)) < 2


def test_the_largest_size_is_left_alone() -> None:
    decoded = decode_image(saved(picture(size=(4096, 16)), "PNG"))
    assert (decoded.width, decoded.height) == (4096, 16)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1), (8192, 20)])
def test_small_pictures_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidMedia, match=f"{size[0]}×{size[1]} pixels; it needs at least 16"):
        decode_image(saved(picture(size=size), "PNG"))


def test_decompression_bombs_are_refused_by_their_header() -> None:
    content = png(30_000, 30_000, 1, 0, bytes(3751 * 30_000))
    assert len(content) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(InvalidMedia, match="has 900 megapixels; at most 50 are accepted"):
        decode_image(content)
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize(
    ("size", "megapixels"), [((7100, 7100), 50), ((9000, 9000), 81), ((60_000, 2000), 120)]
)
def test_sizes_beyond_the_limit(size: tuple[int, int], megapixels: int) -> None:
    with pytest.raises(InvalidMedia, match=f"has {megapixels} megapixels"):
        decode_image(png(*size, 1, 0, b""))


@pytest.mark.parametrize("file_format", FORMATS)
def test_truncated_files_are_refused(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    content = saved(Image.fromarray(noise), file_format)
    for share in (0.1, 0.3, 0.6, 0.95):
        with pytest.raises(InvalidMedia):
            decode_image(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"A",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"P6 64 48 255 " + bytes(64 * 48 * 3),
        b"\0\0\1\0\1\0\x10\x10",
        b"<html>not found</html>",
    ],
)
def test_other_files_are_no_pictures(content: bytes) -> None:
    with pytest.raises(InvalidMedia, match=r"not an image that can be read \(PNG, JPEG"):
        decode_image(content)


@given(
    binary(max_size=300),
    sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF"]),
)
def test_random_bytes_raise_nothing_else(content: bytes, magic: bytes) -> None:
    with pytest.raises(InvalidMedia):
        decode_image(magic + content)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data(), sampled_from(sorted(ENCODINGS)))
def test_mutated_files_raise_nothing_else(draw: DataObject, encoding: str) -> None:
    content = bytearray(ENCODINGS[encoding]())
    for _ in range(draw.draw(integers(1, 8))):
        content[draw.draw(integers(0, len(content) - 1))] = draw.draw(integers(0, 255))
    try:
        decoded = decode_image(bytes(content))
    except InvalidMedia:
        return
    assert decoded.width >= 16


def test_avif_is_taken_where_pillow_has_it() -> None:
    assert ("AVIF" in FORMATS) == features.check("avif")
