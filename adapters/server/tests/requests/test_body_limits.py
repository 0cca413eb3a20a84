"""Bodies that are mostly text: how many bytes each kind may have, and what it costs to refuse more."""

import base64
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from framegate.server.dialects.openai.images.schemas import EditReferences, GenerateFields
from framegate.server.dialects.openai.responses.schemas import CreateResponse
from framegate.server.dialects.openai.videos.schemas import CreateFields, RemixFields
from framegate.server.dialects.wan21_submit.schemas import SubmitRequest
from framegate.server.requests.body_limits import MAX_PLAIN, plain_bytes, takes_media
from framegate.server.requests.forms import MAX_ESCAPES, MAX_FIELDS
from tests.support.http_stand import Stand

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CHAT = {"model": "ltx2_landscape"}
BASE64 = base64.b64encode(os.urandom(3 * 2**20)).decode()

Body = Mapping[str, Any]
MEDIA_ROUTES: list[tuple[str, Callable[[str], Body]]] = [
    ("/predict", lambda text: {"image_base64": text}),
    ("/v1/videos", lambda text: {"image_url": text}),
    ("/v1/videos", lambda text: {"input_reference": {"image_url": text}}),
    ("/v1/images/edits", lambda text: {"images": [{"image_url": text}]}),
    ("/v1/tasks/video", lambda text: {"image_path": text}),
    ("/v1/tasks/image", lambda text: {"image_path": text}),
    ("/v1/videos/transform", lambda text: {"image": text}),
    ("/v1/chat/completions", lambda text: {**CHAT, "image": text}),
    (
        "/v1/chat/completions",
        lambda text: {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url", "x": text}]}]},
    ),
    ("/v1/responses", lambda text: {"input": [{"role": "user", "content": [{"image_url": text}]}]}),
]
TEXT_ROUTES = [
    "/video/submit",
    "/video/status",
    "/v1/images/generations",
    "/v1/images/generate",
    "/v1/videos/generate",
    "/v1/videos/storyboard",
    "/v1/videos/remix",
    "/v1/videos/edits",
    "/v1/videos/video_1/remix",
]


def post(stand: Stand, path: str, data: bytes, headers: Mapping[str, str] = JSON) -> requests.Response:
    started = time.monotonic()
    answer = requests.post(stand.url + path, data=data, headers=headers, timeout=50)
    assert time.monotonic() - started < 40
    assert len(answer.content) < 200_000
    return answer


@pytest.mark.parametrize(("path", "body"), MEDIA_ROUTES)
def test_media_do_not_count(shared_stand: Stand, path: str, body: Callable[[str], Body]) -> None:
    for text in (BASE64, f"data:image/png;base64,{BASE64}"):
        answer = post(shared_stand, path, json.dumps({"prompt": 5, **body(text)}).encode())
        assert answer.status_code in (400, 422)
        assert "too large" not in answer.text
        escaped = json.dumps({"prompt": 5, **body(text)}).replace("/", "\\/").encode()  # as PHP writes it
        assert "too large" not in post(shared_stand, path, escaped).text


REST = {
    "names": "".join(f'"{number}":0,' for number in range(130_000)),
    "same": '"0":0,"1":0,' * 350_000,
    "numbers": '"a":[' + "0," * 2_000_000 + "0],",
    "objects": '"a":[' + "{}," * 700_000 + "{}],",
    "nested": '"a":' + "[" * 2_000_000,
    "digits": '"a":' + "9" * 2_000_000 + ",",
    "words": '"a":"' + "word " * 400_000 + '",',
    "escaped": '"a":"' + '\\"' * 700_000 + '",',
    "letters": '"a":"' + "ü" * 1_000_000 + '",',
    "quotes": '"' * 2_000_000,
}


@pytest.mark.parametrize(
    ("path", "body", "rest"),
    [
        *((*MEDIA_ROUTES[0], rest) for rest in REST),
        *((*route, "names") for route in MEDIA_ROUTES[1:]),
    ],
)
def test_everything_else_does(shared_stand: Stand, path: str, body: Callable[[str], Body], rest: str) -> None:
    answer = post(shared_stand, path, ("{" + REST[rest] + json.dumps(body(BASE64[:2000]))[1:]).encode())
    assert answer.status_code == 413
    assert "too large: apart from images and videos, it may have 1,048,576 bytes" in answer.text


@pytest.mark.parametrize("path", TEXT_ROUTES)
@pytest.mark.parametrize("streamed", [False, True])
def test_bodies_without_media_are_small(shared_stand: Stand, path: str, streamed: bool) -> None:
    body = json.dumps({"prompt": "x", "a": BASE64}).encode()
    data: Any = iter([body[at : at + 2**16] for at in range(0, len(body), 2**16)]) if streamed else body
    answer = requests.post(shared_stand.url + path, data=data, headers=JSON, timeout=50)
    assert answer.status_code == 413
    assert "too large: it may have 1,048,576 bytes" in answer.text
    largest = json.dumps({"prompt": "x" * 400_000, "a": ""}).encode()
    answer = post(shared_stand, path, largest + b" " * (MAX_PLAIN - len(largest)))
    assert answer.status_code in (400, 404, 422), answer.text


@pytest.mark.parametrize(
    ("model", "media"),
    [
        (CreateFields, True),
        (EditReferences, True),
        (CreateResponse, True),
        (RemixFields, False),
        (GenerateFields, False),
        (SubmitRequest, False),
    ],
)
def test_a_model_declares_its_media(model: Any, media: bool) -> None:
    assert takes_media(model) is media


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('{"a":"' + "A" * 5000 + '"}', 8),
        ('{"a":"' + "A" * 1000 + '"}', 1008),
        ('{"a":"data:image/png;name=ü;base64,' + "A" * 5000 + '"}', 8),
        ('{"a":"' + "A" * 5000 + " " + '"}', 5009),
        ('{"a":"\\"","b":"' + "A" * 5000 + '"}', 17),
        ('{"a":"\\\\","b":"' + "A" * 5000 + '"}', 17),
        ('{"a":' + "1" * 5000 + "}", 5006),
        ("A" * 5000, 5000),
    ],
)
def test_what_is_counted(text: str, plain: int) -> None:
    assert plain_bytes(text.encode()) == plain


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("&".join(f"k{number}=1" for number in range(300_000)), 400),
        ("a=1&" * 900_000, 400),
        ("&" * 4_000_000, 400),
        ("prompt=" + "%41" * (MAX_ESCAPES + 1), 413),
        ("prompt=" + "word+" * 300_000, 413),
        ("&".join(f"k{number}=" + "word+" * 250 for number in range(MAX_FIELDS)), 413),
        ("k0=1&" * 1_900_000, 413),
    ],
    ids=["many", "same", "empty", "escapes", "long", "long ones", "9.9 MB"],
)
def test_urlencoded_forms_are_bounded(shared_stand: Stand, body: str, status: int) -> None:
    answer = post(shared_stand, "/v1/videos", body.encode(), FORM)
    assert answer.status_code == status, answer.text


def multipart(*parts: tuple[str, str]) -> tuple[bytes, dict[str, str]]:
    whole = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{text}\r\n' for name, text in parts
    )
    return f"{whole}--b--\r\n".encode(), {"Content-Type": "multipart/form-data; boundary=b"}


JSON_PART = "Content-Type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "parts", "status"),
    [
        ("/v1/videos", [("prompt", "\r\n" + "word " * 220_000)], 413),
        ("/v1/videos", [(f"a{n}", "\r\n" + "word " * 2_500) for n in range(100)], 413),
        ("/v1/videos", [("extra_body", JSON_PART + "[" * 2_000_000)], 413),
        ("/v1/videos", [("extra_body", JSON_PART + "{" + '"0":0,' * 350_000 + '"1":0}')], 413),
        ("/v1/videos", [("image_url", "\r\n" + BASE64), ("prompt", "\r\nx"), ("seed", "\r\nx")], 400),
        ("/v1/images/edits", [("prompt", "\r\n" + BASE64)], 413),
        ("/v1/videos", [(f"k{n}", "\r\n1") for n in range(5_000)], 400),
        ("/v1/videos", [("k", "\r\n1")] * 5_000, 400),
        ("/v1/videos", [("a" + "[b]" * 1_000, "\r\n1")], 400),
    ],
)
def test_multipart_forms_are_bounded(
    shared_stand: Stand, path: str, parts: list[tuple[str, str]], status: int
) -> None:
    data, headers = multipart(*parts)
    assert post(shared_stand, path, data, headers).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        "{" + "".join(f'"{number}":{{"a":["\\u0001{"x" * 40}"]}},' for number in range(8_000)) + '"a":0}',
        '{"prompt":' + "[" * 500_000 + "]" * 500_000 + "}",
        '{"prompt":["' + '","'.join("\\u0001" * 30 for _ in range(4_000)) + '"]}',
        '{"prompt":' + "[" * 3 + ",".join(['"' + "\\u0001" * 150 + '"'] * 1_000) + "]" * 3 + "}",
        '{"' + "k" * 900_000 + '":0}',
        '{"prompt":"x","seed":' + "9" * 900_000 + "}",
        '{"prompt":"x","seed":1e999}',
        '{"prompt":"x","seed":-1e999999999}',
        '{"prompt":"\\ud800","seed":"x"}',
        '{"' + "\\ud800" * 50_000 + '":1}',
        '{"prompt":"x",' + '"prompt":5,' * 80_000 + '"prompt":6}',
    ],
)
@pytest.mark.parametrize(
    "path",
    ["/predict", "/v1/videos", "/v1/tasks/video", "/video/submit"],
)
def test_answers_are_small_whatever_is_wrong(shared_stand: Stand, path: str, body: str) -> None:
    answer = post(shared_stand, path, body.encode())
    assert answer.status_code in (200, 400, 413, 422), answer.text
    assert len(answer.headers.get("Warning", "")) < 3_000
    body_errors: list[Any] = answer.json().get("errors") or []
    assert len(body_errors) <= 50
    assert answer.text.count('"loc":') <= 50


MEDIA = st.integers(1024, 3000).map(lambda length: "A" * length)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=50) | st.text('"\\u', max_size=20) | MEDIA,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def media_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if len(value) >= 1024 else 0
    if isinstance(value, int) or value is None:
        return 0
    inner: Any = value.values() if hasattr(value, "values") else value
    return sum(map(media_bytes, inner))


@given(VALUES, st.booleans())
def test_media_are_told_from_text(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert plain_bytes(raw) == len(raw) - media_bytes(value)


def test_counting_copies_nothing() -> None:
    raw = b'{"a":"' + b"A" * 2**24 + b'"}'
    tracemalloc.start()
    try:
        assert plain_bytes(raw) == 8
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
