"""JSON bodies and query parameters as clients really write them, over a socket."""

import codecs
import json
from typing import Any

import pytest
import requests

from framegate.server.requests.pruning import MAX_ITEMS
from tests.support.http_stand import Stand, StandMaker

JSON = {"Content-Type": "application/json"}


def post(stand: Stand, path: str, body: Any) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(stand.url + path, data=data, headers=JSON, timeout=20)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tasks/video", {"prompt": "x"}),
        ("/v1/tasks/image", {"prompt": "x"}),
        ("/v1/videos", {"prompt": "x"}),
        ("/v1/images/generate", {"prompt": "x", "async_mode": True}),
        ("/video/submit", {"prompt": "a boat at dawn", "image_url": "https://example.com/a.png"}),
    ],
)
def test_a_byte_order_mark_is_taken(shared_stand: Stand, path: str, body: Any) -> None:
    answer = post(shared_stand, path, codecs.BOM_UTF8 + json.dumps(body).encode())
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_named(shared_stand: Stand, encoding: str) -> None:
    answer = post(shared_stand, "/v1/videos", json.dumps({"prompt": "x"}).encode(encoding))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The body is UTF-16 or UTF-32; send JSON in UTF-8"


@pytest.mark.parametrize("body", [codecs.BOM_UTF8, codecs.BOM_UTF8 * 2 + b"{}", b'{"prompt": "\xff"}'])
def test_marks_alone_are_no_body(shared_stand: Stand, body: bytes) -> None:
    assert post(shared_stand, "/v1/videos", body).status_code == 400


def test_nulls_count_as_omitted_at_any_depth(shared_stand: Stand) -> None:
    url = "https://example.com/a.png"
    for reference in ({"image_url": url, "file_id": None}, {"file_id": None, "image_url": url}, None):
        made = post(shared_stand, "/v1/videos", {"prompt": "x", "seed": None, "input_reference": reference})
        assert made.status_code == 200, made.text
    nothing = {"type": "text", "text": "a boat", "image_url": None, "video_url": None}
    message = {"role": "user", "name": None, "content": [nothing]}
    with shared_stand.working():
        for extra in ({"stream": None, "timestamps": None}, {"stream": False}):
            body = {"model": "sora2-landscape-10s", "messages": [message], **extra}
            assert post(shared_stand, "/v1/chat/completions", body).status_code == 200
    wrong = post(shared_stand, "/v1/videos", {"prompt": "x", "characters": [{"id": None}]})
    assert wrong.json()["error"]["param"] == "characters[0].id"


def test_unknown_fields_below_the_first_level_are_ignored_where_the_others_are(
    make_stand: StandMaker,
) -> None:
    stand = make_stand({"openai-videos": {"unknown_fields": "ignore"}})
    body: dict[str, Any] = {
        "prompt": "x",
        "input_reference": {"image_url": "https://example.com/a.png", "detail": "low"},
        "characters": [],
        "n": 1,
    }
    made = post(stand, "/v1/videos", body)
    assert made.status_code == 200, made.text
    assert made.headers["Warning"] == '299 framegate "Ignored fields: input_reference.detail, n"'
    form = {
        "prompt": "x",
        "characters[][id]": "c",
        "characters[][name]": "d",
        "input_reference[detail]": "low",
    }
    files = {name: (None, text) for name, text in form.items()}
    made = requests.post(f"{stand.url}/v1/videos", files=files, timeout=20)
    assert made.status_code in (400, 404), made.text  # there is no such character
    assert "input_reference.detail" in made.headers["Warning"]
    assert "characters.name" in made.headers["Warning"]


def test_a_long_list_costs_no_more_than_its_size(shared_stand: Stand) -> None:
    body = {"prompt": 5, "characters": [{"id": "c"}] * (MAX_ITEMS * 8)}
    answer = post(shared_stand, "/v1/videos", body)
    assert answer.status_code == 400
    assert answer.elapsed.total_seconds() < 5


@pytest.mark.parametrize(
    "query", ["after=&limit=&order=", "after&limit&order", "&&limit=2&", "limit=&limit=2"]
)
def test_empty_parameters_count_as_omitted(shared_stand: Stand, query: str) -> None:
    listed = requests.get(f"{shared_stand.url}/v1/videos?{query}", timeout=10)
    assert listed.status_code == 200, listed.text
    assert listed.json()["object"] == "list"
    wrong = requests.get(f"{shared_stand.url}/v1/videos?{query}&order=up", timeout=10)
    assert wrong.status_code == 400


def test_empty_parameters_of_a_call_that_waits(shared_stand: Stand) -> None:
    path = "/v1/tasks/image/sync?timeout_seconds=&poll_interval_seconds="
    with shared_stand.working():
        assert post(shared_stand, path, {"prompt": "x"}).status_code == 200
