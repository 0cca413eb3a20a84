"""URLs that lead to this machine or to an internal network, through every field that takes a URL."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from tests.security.case import Case, Shape

PROMPT = "A cat on a red sofa"

INTERNAL = (
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    # Names that this server's resolver knows.
    "loopback.test",
    "metadata.test",
    "six.test",
    "both.test",
    "mapped.test",
    "rebinding.test",
    "shared.test",
)
AMBIGUOUS = (
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0:{port}/",
    "http://127.0.0.1%00:{port}/",
    "http://127.0.0.1%2f@example.com/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http:\\\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://[::1:{port}/",
    "http://[::1]]:{port}/",
    "http://[::1.]:{port}/",
    "http://[v1.x]:{port}/",
    "http://x[::1]:{port}/",
    "http://[::ffff:127.0.0.1%25lo]:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://127。0。0。1:{port}/",
    "http://ⓛocalhost:{port}/",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\r\nX-Injected: 1:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://:{port}/",
    "http://",
    "http://.",
    "http://..:{port}/",
    "http://a..b/",
    "http://" + "a" * 300 + ".test/",
    "http://%6c%6f%63%61%6c%68%6f%73%74:{port}/",
)
SCHEMES = (
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "dict://127.0.0.1:{port}/x",
    "ldap://127.0.0.1:{port}/",
    "tcp://127.0.0.1:{port}",
    "unix:///run/valkey.sock",
    "concat:/etc/passwd|/etc/hosts",
    "subfile:,start,0,end,100,,:/etc/passwd",
    "crypto:/etc/passwd",
    "pipe:0",
    "async:file:/etc/passwd",
    "javascript:alert(1)",
    "jar:http://127.0.0.1:{port}!/",
    "netdoc:///etc/passwd",
    "http+unix://%2frun%2fx/",
    "ws://127.0.0.1:{port}/",
    "s3://bucket/key",
)
REDIRECTS = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://loopback.test:{port}/",
    "http://rebinding.test:{port}/",
    "//127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://user@127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "data:text/plain,x",
    "javascript:x",
    "",
    "\\\\127.0.0.1:{port}\\",
    "http:127.0.0.1:{port}",
)


def _chat(field: str) -> Callable[[str], Case]:
    def make(url: str) -> Case:
        part = {"type": field, field: {"url": url}}
        content: list[Any] = [{"type": "text", "text": PROMPT}, part]
        body = {"model": "small", "messages": [{"role": "user", "content": content}]}
        return Case(name="", path="/v1/chat/completions", json=body, expect=(400,))

    return make


def _post(
    path: str, body: Mapping[str, Any], field: str, shape: Shape, *expect: int
) -> Callable[[str], Case]:
    def make(url: str) -> Case:
        return Case(name="", path=path, json={**body, field: url}, expect=expect or (400,), shape=shape)

    return make


def _responses(url: str) -> Case:
    content = [{"type": "input_text", "text": PROMPT}, {"type": "input_image", "image_url": url}]
    body = {"input": [{"role": "user", "content": content}], "tools": [{"type": "image_generation"}]}
    return Case(name="", path="/v1/responses", json=body, expect=(400,))


def _edit(url: str) -> Case:
    body = {"prompt": PROMPT, "images": [{"image_url": url}]}
    return Case(name="", path="/v1/images/edits", json=body, expect=(400,))


def _edit_mask(url: str) -> Case:
    body = {"prompt": PROMPT, "images": [{"image_url": "{image}"}], "mask": {"image_url": url}}
    return Case(name="", path="/v1/images/edits", json=body, expect=(400,))


FIELDS: Mapping[str, Callable[[str], Case]] = {
    "framegate image": _post("/api/v1/jobs", {"prompt": PROMPT}, "image", Shape.FRAMEGATE, 422),
    "framegate video": _post("/api/v1/jobs", {"prompt": PROMPT}, "video", Shape.FRAMEGATE, 422),
    "wan21 image_url": _post("/video/submit", {"prompt": PROMPT}, "image_url", Shape.WAN21, 400, 422),
    "wan22 image_url": _post("/predict", {"prompt": PROMPT}, "image_url", Shape.WAN22),
    "lightx2v image_path": _post(
        "/v1/tasks/image", {"prompt": PROMPT}, "image_path", Shape.LIGHTX2V, 422, 400
    ),
    "lightx2v last_frame_path": _post(
        "/v1/tasks/video", {"prompt": PROMPT}, "last_frame_path", Shape.LIGHTX2V, 422, 400
    ),
    "lightx2v video_path": _post(
        "/v1/tasks/video", {"prompt": PROMPT}, "video_path", Shape.LIGHTX2V, 422, 400
    ),
    "lightx2v image_mask_path": _post(
        "/v1/tasks/image",
        {"prompt": PROMPT, "image_path": "{image}"},
        "image_mask_path",
        Shape.LIGHTX2V,
        422,
        400,
    ),
    "chat image_url": _chat("image_url"),
    "chat video_url": _chat("video_url"),
    "sora2api image": _post("/v1/images/transform", {"prompt": PROMPT}, "image", Shape.OPENAI),
    "sora2api video image": _post("/v1/videos/transform", {"prompt": PROMPT}, "image", Shape.OPENAI),
    "sora2api character": _post("/v1/characters/create", {"stream": True}, "video", Shape.OPENAI),
    "images edit": _edit,
    "images mask": _edit_mask,
    "videos image_url": _post("/v1/videos", {"prompt": PROMPT}, "image_url", Shape.OPENAI),
    "responses input_image": _responses,
}
_NAMES = tuple(FIELDS)


def _named(prefix: str, field: str, url: str) -> Case:
    shown = url.encode("unicode_escape").decode()[:60]
    return replace(FIELDS[field](url), name=f"{prefix}: {field} = {shown}")


def _spread(prefix: str, urls: tuple[str, ...], *, offset: int = 0) -> list[Case]:
    """Give each URL to one field after the other, so that every field sees many spellings."""
    return [_named(prefix, _NAMES[(index + offset) % len(_NAMES)], url) for index, url in enumerate(urls)]


CASES = [
    *(
        _named("internal", field, f"http://{host}:{{port}}/cat.png")
        for field in FIELDS
        for host in ("127.0.0.1", "loopback.test", "[::ffff:127.0.0.1]", "rebinding.test")
    ),
    *_spread("internal", tuple(f"http://{host}:{{port}}/cat.png" for host in INTERNAL)),
    *_spread("internal", tuple(f"http://{host}/" for host in INTERNAL), offset=7),
    *_spread("ambiguous", AMBIGUOUS),
    *_spread("scheme", SCHEMES, offset=3),
    *_spread("redirect", tuple("http://pictures.test:{pictures}/to?" + url for url in REDIRECTS), offset=5),
    *(
        _named("redirect", field, "http://pictures.test:{pictures}/to?http://127.0.0.1:{port}/")
        for field in FIELDS
    ),
    *_spread(
        "hostile server",
        tuple(
            f"http://pictures.test:{{pictures}}/{what}"
            for what in ("loop", "endless", "huge", "gzip", "empty", "html", "playlist", "concat", "bad")
        ),
        offset=11,
    ),
]
