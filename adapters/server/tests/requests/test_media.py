"""What a text that names an image or a video is."""

import pytest

from framegate.core.errors import InvalidMedia
from framegate.core.ports import Base64Source, UrlSource
from framegate.server.requests.media import IdText, MediaText, PathText, media_source, read_media_text

BASE64 = "iVBORw0KGgo" + "A" * 80


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://example.com/a%2Fb.png?sig=%2B", UrlSource("https://example.com/a%2Fb.png?sig=%2B")),
        ("  HTTP://example.com/a.png\n", UrlSource("HTTP://example.com/a.png")),
        ("\tdata:image/png;base64,AAAA ", Base64Source("data:image/png;base64,AAAA")),
        ("DATA:image/png;base64,AAAA", Base64Source("DATA:image/png;base64,AAAA")),
        (BASE64, Base64Source(BASE64)),
        (f" {BASE64}==\n", Base64Source(f"{BASE64}==")),
        (f"/9j/4{BASE64}", Base64Source(f"/9j/4{BASE64}")),
        ("file-Ab1_x", IdText("file-Ab1_x")),
        ("video_0123456789abcdef", IdText("video_0123456789abcdef")),
        ("cat.png", PathText("cat.png")),
        ("/path/to/image", PathText("/path/to/image")),
        (f"/{'long/' * 40}cat.jpg", PathText(f"/{'long/' * 40}cat.jpg")),
        ("~/cat", PathText("~/cat")),
        ("C:\\pictures\\cat.png", PathText("C:\\pictures\\cat.png")),
        ("c:/pictures/cat.png", PathText("c:/pictures/cat.png")),
        ("katze ü.png", PathText("katze ü.png")),
    ],
)
def test_each_kind(text: str, found: MediaText) -> None:
    assert read_media_text(text) == found


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "s3", "blob", "javascript", "jar:file"])
def test_other_schemes_are_refused_by_name(scheme: str) -> None:
    with pytest.raises(InvalidMedia, match=f"scheme is '{scheme.split(':')[0]}'; only http and https"):
        read_media_text(f"{scheme}://example.com/a.png")


@pytest.mark.parametrize("text", ["cat.png", "file-abc", "ftp://a/b.png"])
def test_what_no_dialect_without_files_can_take_names_its_field(text: str) -> None:
    with pytest.raises(InvalidMedia) as raised:
        media_source(text, "image")
    assert raised.value.param == "image"
