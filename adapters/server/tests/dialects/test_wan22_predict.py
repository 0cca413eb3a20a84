"""wan22-predict, part by part."""

import base64
import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from framegate.core.jobs import JobState
from framegate.core.ports import Base64Source, UrlSource
from framegate.core.types import MediaKind, Task
from tests.support.http_stand import BROKEN, CONTENT, Stand, StandMaker
from tests.support.running import eventually


def predict(stand: Stand, **fields: Any) -> requests.Response:
    return requests.post(f"{stand.url}/predict", json={"prompt": "a boat", **fields}, timeout=20)


def test_defaults(stand: Stand) -> None:
    with stand.working():
        answer = predict(stand)
    assert answer.status_code == 200
    assert base64.b64decode(answer.json()["video_base64"]) == CONTENT[MediaKind.VIDEO]
    details = answer.json()["details"]
    seed = details.pop("seed")
    assert 0 <= seed < 2**31
    assert details == {
        "prompt": "a boat",
        "negative_prompt": "",
        "height": 704,
        "width": 1280,
        "num_frames": 121,
        "num_inference_steps": 50,
        "guidance_scale": 5.0,
        "fps": 24,
    }
    assert '"fps":24,' in answer.text


def test_details_are_what_was_used(stand: Stand) -> None:
    with stand.working():
        answer = predict(
            stand,
            width=100,
            height=95,
            num_frames=25,
            num_inference_steps=3,
            guidance_scale=7.5,
            fps=8,
            seed=42,
        )
    assert answer.json()["details"] == {
        "prompt": "a boat",
        "negative_prompt": "",
        "height": 64,
        "width": 96,
        "num_frames": 25,
        "num_inference_steps": 3,
        "guidance_scale": 7.5,
        "fps": 8,
        "seed": 42,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "  "),
        ("prompt", None),
        ("prompt", 5),
        ("negative_prompt", 5),
        ("height", 31),
        ("height", 2049),
        ("height", "704"),
        ("height", 704.5),
        ("width", 31),
        ("width", 2049),
        ("width", True),
        ("num_frames", 21),
        ("num_frames", 125),
        ("num_frames", 26),
        ("num_frames", "25"),
        ("num_inference_steps", 0),
        ("num_inference_steps", 101),
        ("num_inference_steps", 5.5),
        ("guidance_scale", 0.99),
        ("guidance_scale", 20.01),
        ("guidance_scale", "5"),
        ("fps", 0),
        ("fps", 61),
        ("fps", 23.976),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", "42"),
        ("image_url", "ftp://example.com/a.png"),
        ("image_url", "example.com/a.png"),
        ("image_url", "cat.png"),
        ("image_url", "file-0123"),
        ("image_url", "data:image/png;base64,AAAA"),
        ("image_url", 5),
        ("image_url", BROKEN),
        ("image_base64", " https://example.com/a.png"),
        ("image_base64", 5),
        ("image_base64", BROKEN),
        ("no_such_field", 1),
    ],
)
def test_each_limit(shared_stand: Stand, field: str, value: Any) -> None:
    answer = predict(shared_stand, **{field: value})
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert field in body["error"]
    assert [item["field"] for item in body["errors"]] == [field]
    if value is not None and value != BROKEN:
        assert json.dumps(value).strip('" ') in body["error"]


def test_nulls_stand_for_the_defaults(stand: Stand) -> None:
    names = ("negative_prompt", "height", "width", "num_frames", "fps", "image_url", "image_base64")
    with stand.working():
        answer = predict(stand, **dict.fromkeys(names))
    assert answer.status_code == 200, answer.text
    details = answer.json()["details"]
    assert (details["width"], details["height"], details["num_frames"]) == (1280, 704, 121)


def test_all_errors_are_listed(shared_stand: Stand) -> None:
    body = requests.post(
        f"{shared_stand.url}/predict", json={"num_frames": 26, "fps": 0, "width": "a"}, timeout=10
    ).json()
    assert {item["field"] for item in body["errors"]} == {"prompt", "num_frames", "fps", "width"}


def test_both_images(shared_stand: Stand) -> None:
    answer = predict(shared_stand, image_url="https://example.com/a.png", image_base64="AAAA")
    assert answer.status_code == 400
    assert "image_url" in answer.json()["error"]
    assert "image_base64" in answer.json()["error"]


def test_images(stand: Stand) -> None:
    with stand.working():
        for image in (
            {"image_url": "https://example.com/a.png"},
            {"image_base64": "AAAA"},
            {"image_url": None},
        ):
            assert predict(stand, **image).status_code == 200
    assert stand.media.taken == [UrlSource("https://example.com/a.png"), Base64Source("AAAA")]
    assert [job.request.task for job in stand.jobs()] == [
        Task.IMAGE_TO_VIDEO,
        Task.IMAGE_TO_VIDEO,
        Task.TEXT_TO_VIDEO,
    ]


def test_a_failure_is_told(stand: Stand) -> None:
    with stand.working(failing="The device is out of memory; try a smaller size."):
        answer = predict(stand)
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "The device is out of memory; try a smaller size."},
    )


def test_the_limit(make_stand: StandMaker) -> None:
    stand = make_stand({"wan22-predict": {"timeout": 0.05}})
    answer = predict(stand)
    assert answer.status_code == 504
    assert set(answer.json()) == {"error"}
    (job,) = stand.jobs()
    assert job.state == JobState.CANCELLED


def test_a_disconnect_cancels_the_job(stand: Stand) -> None:
    parts = urlsplit(stand.url)
    body = b'{"prompt": "x"}'
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        job = stand.wait_claim()
    eventually(lambda: stand.job(job.id).cancel_requested, what="the cancel")


def test_a_full_queue(make_stand: StandMaker) -> None:
    stand = make_stand({"wan22-predict": {"timeout": 5}}, max_queued=1)
    requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x"}, timeout=10)
    answer = predict(stand)
    assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert int(answer.headers["Retry-After"]) > 0


def test_wrong_methods(shared_stand: Stand) -> None:
    answer = requests.get(f"{shared_stand.url}/predict", timeout=10)
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


def test_the_page(shared_stand: Stand) -> None:
    page = requests.get(f"{shared_stand.url}/", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<style" not in page.text
    assert not re.search(r"\son\w+=|style=", page.text)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert not link.startswith(("/", "http"))
        assert requests.get(f"{shared_stand.url}/{link}", timeout=10).status_code == 200
    labelled = set(re.findall(r'<label for="(\w+)"', page.text))
    assert labelled == set(re.findall(r'<(?:input|textarea) id="(\w+)"', page.text))
    script = requests.get(f"{shared_stand.url}/predict-page/page.js", timeout=10)
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert "innerHTML" not in script.text
