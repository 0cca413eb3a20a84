"""What fuzzing begins with: valid inputs, and words of which their languages consist."""

import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from tests.support.attacking import media

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
"""Findings: one folder for each target, replayed by the suite."""

_WORKFLOWS = REPOSITORY / "plugins/comfyui/src/framegate/plugins/comfyui/workflows/shipped"


def _image(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


def _json(choice: int, body: object) -> bytes:
    return bytes([choice]) + json.dumps(body).encode()


_PART = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nA cat\r\n'
_FILE = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n"
    b"\x89PNG\r\n--x--\r\n"
)


@cache
def seeds() -> Mapping[str, Sequence[bytes]]:
    """Return valid inputs by target."""
    return {
        "image": [_image(form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
        + [_image("JPEG", progressive=True), media.scan_bomb(2, 64)],
        "video": [media.static_video(32, 4, 8), media.video_with_silence(0.005, side=32)],
        "media-text": [b"data:image/png;base64,iVBORw0KGgo=", b"data:,%41%42", b"file_abc", b"~/a.png"],
        "url": [b"http://example.com:80/a?b=c#d", b"http://[::1]/", b"//a/b", b"../x?y", b"HTTPS://a.b/%2f"],
        "prompt": [
            b"{anime} [5.0s]A cat @bob.1 [ .5 s ]jumps",
            b"see https://h/p/s_" + b"0" * 32 + b"?a=b at night",
            b"0,3",
            b"```json\n[1s]a\n```",
        ],
        "style": [b"A cat {anime}", b"{comic}{retro} x"],
        "json": [
            _json(
                0, {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
            ),
            _json(1, {"prompt": "x", "n": 2, "extra_body": {"seed": 3}}),
            _json(2, {"prompt": "x", "images": [{"image_url": "data:,x"}]}),
            _json(3, {"prompt": "x", "seconds": "4", "size": "64x64"}),
            _json(5, {"input": [{"role": "user", "content": "x"}], "tools": [{"type": "image_generation"}]}),
            _json(8 + 132, {"prompt": "x", "target_shape": [64, 64], "seed": "5"}),
            _json(11, {"prompt": "x", "num_frames": 25}),
        ],
        "encoded": [b"gzip\n\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", b"deflate, gzip\nx"],
        "multipart": [_PART + b"--x--\r\n", _PART + _FILE],
        "urlencoded": [b"prompt=a%20b&images[][image_url]=x&images[][file_id]=y", b"a[b][c]=1&a[b][d]=2"],
        "forwarded": [
            b'Forwarded: for=1.2.3.4;proto=https;host="a.b:1", for="[::1]:2"',
            b"X-Forwarded-For: 1.2.3.4, 127.0.0.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: a.b",
            b"X-Forwarded-Prefix: /a\nX-Forwarded-Port: 8443",
        ],
        "workflow": [path.read_bytes() for path in sorted(_WORKFLOWS.glob("*.json"))],
    }


WORDS: Mapping[str, Sequence[bytes]] = {
    "image": [
        b"IHDR",
        b"IDAT",
        b"eXIf",
        b"iCCP",
        b"\xff\xd8",
        b"\xff\xda",
        b"RIFF",
        b"VP8X",
        b"ANIM",
        b"GIF89a",
    ],
    "video": [b"ftyp", b"moov", b"trak", b"stsd", b"stts", b"mdat", b"\x1a\x45\xdf\xa3", b"tkhd", b"elst"],
    "media-text": [
        b"data:",
        b";base64",
        b",",
        b"%",
        b"=",
        b"http://",
        b"file-",
        b"~",
        b"\xc3\xa9",
        b"+",
        b"_",
    ],
    "url": [
        b"http",
        b"://",
        b"@",
        b"[::",
        b"]",
        b":0",
        b"%",
        b"\\",
        b"?",
        b"#",
        b"..",
        b"\t",
        b"\xe3\x80\x82",
        b"xn--",
    ],
    "prompt": [
        b"[",
        b"s]",
        b".5",
        b"{anime}",
        b"@",
        b"s_",
        b"0" * 32,
        b"http://",
        b"```",
        b"\n",
        b" ",
        b",",
        b"9" * 20,
        b"1e9",
        b"nan",
    ],
    "style": [b"{", b"}", b"anime", b"{anime}", b" ", b"\xc2\xa0", b"\n"],
    "json": [
        b'"prompt"',
        b":",
        b"null",
        b"[",
        b"]",
        b"{",
        b"}",
        b"1e999",
        b"9" * 25,
        b'"\\ud800"',
        b"messages",
        b"content",
        b"NaN",
        b"extra_body",
    ],
    "encoded": [b"gzip", b"deflate", b"br", b"zstd", b",", b"identity", b"\n", b"\x1f\x8b\x08", b"\x78\x9c"],
    "multipart": [
        b"--x",
        b"--x--",
        b"\r\n",
        b"Content-Disposition: form-data; name=",
        b'"',
        b"filename*=",
        b"charset=",
        b"Content-Type: application/json",
        b"Content-Transfer-Encoding: base64",
    ],
    "urlencoded": [b"&", b"=", b"%", b"[", b"]", b"[]", b"+", b"a", b"%ff", b"%00"],
    "forwarded": [
        b"Forwarded:",
        b"for=",
        b"proto=",
        b"host=",
        b'"',
        b"\\",
        b";",
        b",",
        b"X-Forwarded-Host:",
        b"X-Forwarded-For:",
        b"[::",
        b"_x",
        b"127.0.0.1",
        b"\n",
    ],
    "workflow": [
        b'"class_type"',
        b'"inputs"',
        b'"_meta"',
        b'"title"',
        b"fg:",
        b"SaveVideo",
        b"SaveImage",
        b"[",
        b"]",
        b"{",
        b"}",
        b"null",
        b"KSampler",
        b"seed",
    ],
}
