"""Images and videos that are damaged, that are something else, or that grow when they are decoded."""

import base64
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from tests.security.case import Case, Maker, Shape
from tests.support.attacking import media

PLAYLIST = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp4'\nfile '/etc/passwd'\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:{port}/x"/></svg>'


def png_of(width: int, height: int, pixels: bytes | None = None) -> bytes:
    """Return a PNG that says that it has this size, whatever pixels follow."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1_000)) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _text_bomb() -> bytes:
    """Return a PNG with a compressed text of 200 MB."""
    content = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    text = (
        struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    )
    plain = media.png()
    return plain[:33] + text + plain[33:]


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _gif_of_frames(count: int) -> bytes:
    frames = [Image.new("P", (16, 16), index % 2) for index in range(count)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], optimize=False)


def _video(side: int = 64, frames: int = 16, fps: int = 16) -> bytes:
    return media.static_video(side, frames, fps)


IMAGES: Mapping[str, Maker] = {
    "a PNG of 60,000 × 60,000 pixels": lambda: png_of(60_000, 60_000),
    "a PNG of 2**31 - 1 pixels a side": lambda: png_of(2**31 - 1, 2**31 - 1),
    "a PNG of 8,000 × 7,000 black pixels": lambda: png_of(
        8_000, 7_000, zlib.compress(bytes(8_001 * 7_000), 9)
    ),
    "a PNG without height": lambda: png_of(100, 0),
    "a PNG of 8 × 8 pixels": lambda: media.png(8, 8),
    "a PNG of 4 × 30,000 pixels": lambda: png_of(4, 30_000),
    "a PNG with a text of 200 MB": _text_bomb,
    "a PNG cut in half": lambda: media.png()[:60],
    "a PNG's first bytes": lambda: media.png()[:8],
    "a JPEG with 12,000 scans": lambda: media.scan_bomb(12_000),
    "a JPEG's first bytes": lambda: b"\xff\xd8\xff\xe0",
    "a JPEG cut off": lambda: _saved(Image.new("RGB", (640, 640)), "JPEG")[:700],
    "a GIF cut off": lambda: _gif_of_frames(5)[:40],
    "a GIF of 65,535 × 65,535 pixels": lambda: (
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(9) + b";"
    ),
    "a BMP of 40,000 × 40,000 pixels": lambda: (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "a TIFF whose directory names itself": lambda: (
        b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + bytes(12) + struct.pack("<I", 8)
    ),
    "an SVG": lambda: SVG,
    "a PDF": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file\n",
    "an ICO": lambda: b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0",
    "a PSD": lambda: b"8BPS\0\1" + bytes(60),
    "a playlist": lambda: PLAYLIST,
    "a ffconcat": lambda: CONCAT,
    "HTML": lambda: b"<html><script>alert(1)</script></html>",
    "XML with an entity": lambda: (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    ),
    "a gzip of 100 MB": lambda: gzip.compress(bytes(100_000_000), 9),
    "a ZIP": lambda: b"PK\x03\x04" + bytes(100),
    "a program": lambda: b"\x7fELF" + bytes(100),
    "a pickle": lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "nothing but zeros": lambda: bytes(100_000),
    "a video": _video,
    "nothing": lambda: b"",
}


VIDEOS: Mapping[str, Maker] = {
    "a playlist": lambda: PLAYLIST,
    "a playlist that calls itself MP4": lambda: b"\0\0\0\x18ftypmp42" + PLAYLIST,
    "a ffconcat": lambda: CONCAT,
    "a DASH manifest": lambda: b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:{port}/</BaseURL></MPD>',
    "an SDP": lambda: b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video {port} RTP/AVP 96\r\n",
    "an AVI": lambda: b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
    "an ASF": lambda: bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(100),
    "an MPEG-TS": lambda: (b"\x47\x40\0\x10" + bytes(184)) * 10,
    "a YUV4MPEG": lambda: b"YUV4MPEG2 W64 H64 F25:1\nFRAME\n" + bytes(6_144),
    "an MP4 cut in half": lambda: _video()[:1_000],
    "an MP4 without its beginning": lambda: _video()[32:],
    "an MP4 whose sizes are zero": lambda: b"\0\0\0\x18ftypisom" + bytes(500),
    "an MP4 whose box is 2**63 long": lambda: b"\0\0\0\x01ftyp\x7f" + b"\xff" * 7 + bytes(100),
    "an MP4 of 20 minutes": lambda: media.static_video(64, 20 * 60, 1),
    "an MP4 at 1,000 frames a second": lambda: media.static_video(64, 100, 1_000),
    "an MP4 with half an hour of silence": lambda: media.video_with_silence(30),
    "a Matroska with sound in MP2": lambda: _matroska("mp2"),
    "a Matroska with sound in TTA": lambda: _matroska("tta"),
    "a Matroska with sound in WavPack": lambda: _matroska("wavpack"),
    "a Matroska with nothing": lambda: b"\x1a\x45\xdf\xa3" + bytes(200),
    "an image": media.png,
    "HTML": lambda: b"<html></html>",
    "nothing": lambda: b"",
}


def _matroska(codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=16)
        assert isinstance(video, VideoStream)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(codec, rate=48_000)
        assert isinstance(audio, AudioStream)
        audio.layout = "stereo"
        for _ in range(16):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
            container.mux(video.encode(frame))
        resampler = av.AudioResampler(format=audio.format.name, layout="stereo", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.int16), format="s16", layout="stereo")
        silence.sample_rate = 48_000
        for ready in resampler.resample(silence):
            container.mux(audio.encode(ready))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return buffer.getvalue()


TEXTS: Mapping[str, str] = {
    "percent signs of 1 MB": "data:," + "%41" * 340_000,
    "a data URI without a comma": "data:image/png;base64",
    "a data URI with a long type": "data:" + "a" * 5_000 + ",AAAA",
    "a data URI of nothing": "data:image/png;base64,",
    "a data URI in a data URI": "data:text/plain,data:image/png;base64,AAAA",
    "base64 that breaks off": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" + "A" * 41,
    "base64 with 400 kB of spaces": "iVBO" + " " * 400_000 + "Rw0KGgo",
    "letters that are not base64": "\u00e9" * 100,
    "500 kB of equals signs": "=" * 500_000,
}


def _base64(make: Maker, before: str = "") -> Callable[[], str]:
    return lambda: before + base64.b64encode(make()).decode()


def _image_cases(name: str, make: Maker) -> tuple[Case, ...]:
    def to(route: str, path: str, shape: Shape = Shape.OPENAI, **body: Any) -> Case:
        return Case(name=f"{name} {route}", path=path, expect=(400, 413, 422), shape=shape, **body)

    def form(field: str) -> dict[str, Any]:
        return {"data": {"prompt": "x"}, "files": {field: ("x.png", make, "image/png")}}

    return (
        to("uploaded to be edited", "/v1/images/edits", **form("image")),
        to("uploaded as a first frame", "/v1/videos", **form("input_reference")),
        to("in a form of lightx2v", "/v1/tasks/image/form", Shape.LIGHTX2V, **form("image_file")),
        to("to sora2api", "/v1/images/transform", json={"prompt": "x", "image": _base64(make)}),
        to(
            "to wan22",
            "/predict",
            Shape.WAN22,
            json={"prompt": "x", "image_base64": _base64(make, "data:image/png;base64,")},
        ),
    )


def _video_cases(name: str, make: Maker) -> tuple[Case, ...]:
    def to(route: str, path: str, **data: str) -> Case:
        files = {"video": ("x.mp4", make, "video/mp4")}
        return Case(name=f"{name} {route}", path=path, data=data, files=files, expect=(400, 413))

    return (
        to("as a character", "/v1/videos/characters", name="x"),
        to("to be extended", "/v1/videos/extensions", prompt="x", seconds="1", model="sora-2"),
        to("to be edited", "/v1/videos/edits", prompt="x", model="sora-2"),
    )


def _text_cases(name: str, text: str) -> tuple[Case, ...]:
    return (
        Case(
            name=f"{name} to sora2api",
            path="/v1/images/transform",
            json={"prompt": "x", "image": text},
            expect=(400, 413),
        ),
        Case(
            name=f"{name} to lightx2v",
            path="/v1/tasks/image",
            json={"prompt": "x", "image_path": text},
            expect=(400, 413, 422),
            shape=Shape.LIGHTX2V,
        ),
    )


CASES = [
    *(
        case
        for number, (name, make) in enumerate(IMAGES.items())
        if name != "nothing"
        for index, case in enumerate(_image_cases(name, make))
        if (index - number) % 5 in (0, 2)
    ),
    *_image_cases("nothing", IMAGES["nothing"])[:3],
    *(
        case
        for number, (name, make) in enumerate(VIDEOS.items())
        for index, case in enumerate(_video_cases(name, make))
        if (index - number) % 3 < 2
    ),
    *(case for name, text in TEXTS.items() for case in _text_cases(name, text)),
]
