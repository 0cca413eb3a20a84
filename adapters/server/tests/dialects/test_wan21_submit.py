"""wan21-submit, part by part."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given

from framegate.core.jobs import JobState
from framegate.core.ports import UrlSource
from framegate.core.types import MediaKind, Task
from framegate.server.testing import DialectContract
from tests.support.fuzzing import bounded
from tests.support.http_stand import BROKEN, CONTENT, Stand, StandMaker

PROMPT = "a boat on a lake"
IMAGE = "https://example.com/a.png"
PATHS = ("/video/submit", "/video/status", "/video/cancel")
UNKNOWN = "0" * 32
EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "wan21_submit.py"


def call(stand: Stand, path: str, prefix: str = "", **fields: Any) -> requests.Response:
    return requests.post(f"{stand.url}{prefix}/video/{path}", json=fields, timeout=20)


def submit(stand: Stand, prefix: str = "", **fields: Any) -> requests.Response:
    return call(stand, "submit", prefix, **{"prompt": PROMPT, "image_url": IMAGE, **fields})


def submitted(stand: Stand, prefix: str = "", **fields: Any) -> str:
    answer = submit(stand, prefix, **fields)
    assert answer.status_code == 202, answer.text
    assert answer.json().keys() == {"requestId"}
    return str(answer.json()["requestId"])


def status(stand: Stand, request_id: str, prefix: str = "") -> dict[str, Any]:
    answer = call(stand, "status", prefix, requestId=request_id)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert list(body) == ["status", "reason", "results", "queue_position"]
    return body


def is_failure(body: dict[str, Any]) -> bool:
    items: list[dict[str, Any]] | dict[str, Any] = body["detail"]
    if isinstance(items, list):
        return all(item.keys() == {"type", "loc", "msg", "input"} for item in items)
    return body.keys() == {"detail"} and items.keys() == {"status", "reason"} and items["status"] == "Failed"


class TestContract(DialectContract):
    posts = PATHS
    unknown_path = "/video/nothing"

    @pytest.fixture
    def base_url(self, shared_stand: Stand) -> str:
        return shared_stand.url

    def is_error_body(self, body: Any) -> bool:
        return is_failure(body)


class TestContractBehindAPrefixWithKeys(TestContract):
    api_key = "alice's"

    @pytest.fixture
    def base_url(self, make_stand: StandMaker) -> str:
        digest = hashlib.sha256(self.api_key.encode()).hexdigest()
        stand = make_stand(
            {"wan21-submit": {"prefix": "/v1"}}, auth={"keys": [{"name": "alice", "sha256": digest}]}
        )
        return f"{stand.url}/v1"


def test_defaults(stand: Stand) -> None:
    request_id = submitted(stand)
    assert len(request_id) == 32
    assert set(request_id) <= set("0123456789abcdef")
    assert stand.media.taken == [UrlSource(IMAGE)]
    job = stand.job(request_id)
    assert job.request.task == Task.IMAGE_TO_VIDEO
    (shot,) = job.shots
    # The image is square.
    assert (shot.width, shot.height, shot.num_frames, shot.fps) == (624, 624, 81, 16.0)
    assert (shot.num_inference_steps, shot.guidance_scale, shot.negative_prompt) == (30, 3.0, "")
    assert 0 <= shot.seed < 2**31


def test_every_field(stand: Stand) -> None:
    request_id = submitted(
        stand,
        model="Wan2.1-I2V-14B-480P",
        image_size="480x832",
        num_frames=120,
        guidance_scale=5,
        infer_steps=20,
        seed=2**31 - 1,
        negative_prompt="blurry",
        no_such_field=1,
    )
    (shot,) = stand.job(request_id).shots
    assert (shot.width, shot.height, shot.num_frames) == (480, 832, 121)
    assert (shot.num_inference_steps, shot.guidance_scale) == (20, 5.0)
    assert (shot.seed, shot.negative_prompt) == (2**31 - 1, "blurry")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", None),
        ("prompt", "a boat"),
        ("prompt", "x" * 501),
        ("prompt", " " * 20),
        ("prompt", 5),
        ("negative_prompt", "x" * 501),
        ("image_url", None),
        ("image_url", 5),
        ("image_size", "832x832"),
        ("image_size", 480),
        ("num_frames", 23),
        ("num_frames", 121),
        ("num_frames", 81.5),
        ("guidance_scale", 0.9),
        ("guidance_scale", 20.1),
        ("infer_steps", 19),
        ("infer_steps", 101),
        ("seed", -1),
        ("seed", 2**31),
        ("model", 5),
    ],
)
def test_each_limit(shared_stand: Stand, field: str, value: Any) -> None:
    answer = submit(shared_stand, **{field: value})
    assert answer.status_code == 422, answer.text
    (item,) = answer.json()["detail"]
    assert item["loc"] == ["body", field]
    assert item["msg"]
    assert item["type"]


def test_numbers_as_texts_and_nulls_are_taken_as_by_the_original(stand: Stand) -> None:
    answer = submit(
        stand, num_frames="49", guidance_scale="3.5", infer_steps="20", seed="7", image_size=None, model=None
    )
    assert answer.status_code == 202, answer.text
    (job,) = stand.jobs()
    shot = job.shots[0]
    assert (shot.num_frames, shot.guidance_scale, shot.num_inference_steps, shot.seed) == (49, 3.5, 20, 7)


def test_unknown_fields_are_named_in_a_warning(stand: Stand) -> None:
    fields: dict[str, Any] = {"cfg_scale": 3, "x\r\nset-cookie: a": 1}
    answer = submit(stand, **fields)
    assert answer.status_code == 202, answer.text
    assert answer.headers["warning"] == '299 framegate "Ignored fields: cfg_scale, x??set-cookie??a"'
    assert "warning" not in submit(stand).headers


def test_unknown_fields_are_refused_if_configured(make_stand: StandMaker) -> None:
    strict = make_stand(options={"wan21-submit": {"unknown_fields": "refuse"}})
    answer = submit(strict, cfg_scale=3)
    assert answer.status_code == 422
    (item,) = answer.json()["detail"]
    assert (item["loc"], item["type"]) == (["body", "cfg_scale"], "extra_forbidden")


def test_all_errors_are_listed(shared_stand: Stand) -> None:
    answer = call(shared_stand, "submit", prompt="short", num_frames=5, infer_steps="a")
    assert answer.status_code == 422
    assert [item["loc"][1] for item in answer.json()["detail"]] == ["prompt", "num_frames", "infer_steps"]
    assert {item["type"] for item in answer.json()["detail"]} == {
        "string_too_short",
        "greater_than_equal",
        "int_parsing",
    }


def test_an_image_that_can_t_be_had(shared_stand: Stand) -> None:
    answer = submit(shared_stand, image_url=BROKEN)
    assert answer.status_code == 400
    assert answer.json()["detail"]["status"] == "Failed"
    assert answer.json()["detail"]["reason"]


def test_an_unknown_model(shared_stand: Stand) -> None:
    answer = submit(shared_stand, model="Wan2.1-I2V-14B-480p")
    assert answer.status_code == 400
    assert "Wan2.1-I2V-14B-480P" in answer.json()["detail"]["reason"]


def test_a_text_to_video_model_needs_no_image(stand: Stand) -> None:
    request_id = submitted(stand, model="Wan2.2-TI2V-5B", image_url=None, num_frames=24)
    job = stand.job(request_id)
    assert job.request.task == Task.TEXT_TO_VIDEO
    assert job.shots[0].num_frames == 25
    assert job.shots[0].width * job.shots[0].height <= 399_360


def test_an_empty_image_url_is_none(stand: Stand) -> None:
    job = stand.job(submitted(stand, model="Wan2.2-TI2V-5B", image_url=""))
    assert (job.request.task, stand.media.taken) == (Task.TEXT_TO_VIDEO, [])
    refused = submit(stand, image_url="")
    assert refused.status_code == 422
    (item,) = refused.json()["detail"]
    assert (item["loc"], item["type"]) == (["body", "image_url"], "missing")
    assert "needs an image" in item["msg"]


def test_the_example_says_what_is_wrong(stand: Stand) -> None:
    def example(prefix: str, *arguments: str) -> str:
        environment = {**os.environ, "FRAMEGATE_URL": stand.url + prefix}
        done = subprocess.run(
            [sys.executable, EXAMPLE, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    lost = example("/nowhere", PROMPT)
    assert lost == "No video: 404: Not Found (does FRAMEGATE_URL have the server's prefix?)\n"
    assert "prompt: Input should have at least 10 characters" in example("", "short", "--image", IMAGE)


def test_from_the_queue_to_the_file(stand: Stand) -> None:
    first, second = submitted(stand), submitted(stand, seed=123456)
    for position, request_id in enumerate((first, second), start=1):
        assert status(stand, request_id) == {
            "status": "InQueue",
            "reason": None,
            "results": None,
            "queue_position": position,
        }
    stand.run_next()
    running = stand.claim()
    assert running.id == second
    assert status(stand, second) == {
        "status": "InProgress",
        "reason": None,
        "results": None,
        "queue_position": None,
    }
    stand.finish(running)
    body = status(stand, second)
    assert (body["status"], body["reason"], body["queue_position"]) == ("Succeed", None, None)
    results = body["results"]
    assert results["seed"] == 123456
    assert 0 <= results["timings"]["inference"] < 20
    (video,) = results["videos"]
    assert video["url"].startswith(f"{stand.url}/videos/")
    assert video["url"].endswith(".mp4")
    film = CONTENT[MediaKind.VIDEO]
    assert requests.get(video["url"], timeout=10).content == film
    assert requests.get(video["url"], headers={"Range": "bytes=5-9"}, timeout=10).content == film[5:10]
    head = requests.head(video["url"], timeout=10)
    assert int(head.headers["Content-Length"]) == len(film)
    assert head.headers["Content-Type"] == "video/mp4"

    stand.artifacts.delete(stand.job(second).artifacts[0].key)
    gone = requests.get(video["url"], timeout=10)
    assert (gone.status_code, gone.json()["detail"]["status"]) == (404, "Failed")
    assert "retention" in gone.json()["detail"]["reason"]


def test_a_failed_one_says_why(stand: Stand) -> None:
    request_id = submitted(stand)
    stand.fail(stand.claim(), "Out of GPU memory; lower the resolution or the number of frames.")
    assert status(stand, request_id) == {
        "status": "Failed",
        "reason": "Out of GPU memory; lower the resolution or the number of frames.",
        "results": None,
        "queue_position": None,
    }


def test_cancel(stand: Stand) -> None:
    running, waiting, third = submitted(stand), submitted(stand), submitted(stand)
    job = stand.claim()
    assert job.id == running
    for request_id in (waiting, running):
        answer = call(stand, "cancel", requestId=request_id)
        assert (answer.status_code, answer.json()) == (200, {"status": "Succeed"})
        assert status(stand, request_id)["status"] == "Cancelled"
    assert stand.job(waiting).state == JobState.CANCELLED
    assert stand.job(running).cancel_requested
    assert call(stand, "cancel", requestId=running).json() == {"status": "Succeed"}
    assert stand.claim().id == third
    stand.finish(stand.job(third))
    late = call(stand, "cancel", requestId=third)
    assert late.status_code == 400
    assert is_failure(late.json())
    assert status(stand, third)["status"] == "Succeed"


def test_unknown_requests(stand: Stand) -> None:
    other = requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x"}, timeout=10).json()["task_id"]
    for request_id in (UNKNOWN, "", "a" * 5000, "../x", other):
        for path in ("status", "cancel"):
            answer = call(stand, path, requestId=request_id)
            assert answer.status_code == 404
            assert is_failure(answer.json())
    bodies: tuple[dict[str, Any], ...] = ({}, {"requestId": 5}, {"request_id": UNKNOWN})
    for body in bodies:
        answer = call(stand, "status", **body)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "requestId"]
    for name in (f"{UNKNOWN}_1.mp4", "x.mp4", "%2e%2e%2fx.mp4", f"{other}_1.mp4"):
        answer = requests.get(f"{stand.url}/videos/{name}", timeout=10)
        assert answer.status_code == 404
        assert is_failure(answer.json())


def test_keys(make_stand: StandMaker) -> None:
    keys = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("alice", "bob")]
    stand = make_stand(auth={"keys": keys})
    for path in PATHS:
        answer = requests.post(stand.url + path, json={}, timeout=10)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert is_failure(answer.json())

    def ask(path: str, key: str, **fields: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.post(f"{stand.url}/video/{path}", json=fields, headers=headers, timeout=10)

    request_id = ask("submit", "alice", prompt=PROMPT, image_url=IMAGE).json()["requestId"]
    for path in ("status", "cancel"):
        assert ask(path, "bob", requestId=request_id).status_code == 404
    stand.run_next()
    url = ask("status", "alice", requestId=request_id).json()["results"]["videos"][0]["url"]
    # Whoever was given the link may follow it, as a page's <video> must.
    assert requests.get(url, timeout=10).status_code == 200


def test_a_full_queue(make_stand: StandMaker) -> None:
    stand = make_stand(max_queued=1)
    submitted(stand)
    answer = submit(stand)
    assert answer.status_code == 503
    assert is_failure(answer.json())
    assert int(answer.headers["Retry-After"]) > 0


def test_behind_a_prefix(make_stand: StandMaker) -> None:
    """It is mounted beside all other dialects, some of which also have ``/v1/videos/…``."""
    stand = make_stand(
        {"wan21-submit": {"prefix": "/v1"}}, server={"public_url": "https://video.example.com"}
    )
    request_id = submitted(stand, "/v1")
    stand.run_next()
    url = status(stand, request_id, "/v1")["results"]["videos"][0]["url"]
    assert url == f"https://video.example.com/videos/{request_id}_1.mp4"
    assert requests.get(f"{stand.url}/videos/{request_id}_1.mp4", timeout=10).status_code == 200
    assert submit(stand).status_code == 404


@pytest.fixture(scope="module")
def api(shared_stand: Stand) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{shared_stand.url}/openapi.json")
    with shared_stand.working():
        yield schema


@pytest.mark.parametrize("path", [*PATHS, "/videos/{name}"])
def test_any_request(api: Any, path: str) -> None:
    @bounded
    @given(case=api[path]["GET" if "{" in path else "POST"].as_strategy())
    def send(case: Any) -> None:
        answer = case.call(timeout=10)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert is_failure(answer.json()), answer.text

    send()
