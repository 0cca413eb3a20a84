"""lightx2v's two vocabularies: which of them a task is answered in, and that each client's loop ends."""

from typing import Any

import pytest
import requests

from tests.support.http_stand import Stand, StandMaker
from tests.support.lightx2v_client import status, submit

DOCUMENT: list[dict[str, Any]] = [
    {},
    {
        "negative_prompt": "blurry",
        "num_fragments": 1,
        "infer_steps": 4,
        "video_duration": 5,
        "seed": 42,
        "height": 480,
        "width": 832,
        "image_path": "https://example.com/cat.png",
    },
    {"no_such_field": 1},
]
SERVER: list[dict[str, Any]] = [
    {"save_result_path": ""},
    {"task_id": "mine"},
    {"target_fps": 16},
    {"target_video_length": 81},
    {"target_shape": []},
    {"aspect_ratio": "16:9"},
    {"i2i_denoise_strength": None},
    {"last_frame_path": ""},
    {"lora_name": None},
    {"lora_name": None, "no_such_field": 1},
    {"lora_strength": 1.0},
    {"presigned_url": ""},
    {"use_prompt_enhancer": False},
    {"use_prompt_enhancer": "false", "infer_steps": "4"},
    {"image_mask_path": ""},
    {"reuse": False},
    {"video_path": ""},
    {"sr_ratio": 2},
    {"audio_path": ""},
    {"talk_objects": None},
    {"resize_mode": "adaptive"},
    {"data_bootstrap_room": None},
]


def ends_for_the_original_s_client(stand: Stand, task_id: str) -> bool:
    """Poll as LightX2V's scripts do, and return whether they would stop."""
    return status(stand, task_id)["status"] in ("completed", "failed", "cancelled")


@pytest.mark.parametrize("fields", SERVER)
def test_fields_that_only_the_server_knows(stand: Stand, fields: dict[str, Any]) -> None:
    sent = submit(stand, **fields)
    assert (sent["status"], sent["task_status"]) == ("pending", "pending")
    job = stand.claim()
    assert status(stand, sent["task_id"])["status"] == "processing"
    stand.finish(job)
    assert status(stand, sent["task_id"])["status"] == "completed"
    assert ends_for_the_original_s_client(stand, sent["task_id"])


@pytest.mark.parametrize("fields", DOCUMENT)
def test_fields_of_the_document(stand: Stand, fields: dict[str, Any]) -> None:
    sent = submit(stand, **fields)
    assert sent["status"] == "submitted"
    stand.finish(stand.claim())
    assert status(stand, sent["task_id"])["status"] == "succeed"


@pytest.mark.parametrize(
    "path", ["/v1/tasks/video/", "/v1/tasks/", "/v1/tasks", "/v1/tasks/image", "/v1/tasks/image/"]
)
def test_paths_that_only_the_server_has(stand: Stand, path: str) -> None:
    for fields in DOCUMENT:
        task_id = submit(stand, path, **fields)["task_id"]
        stand.finish(stand.claim())
        assert ends_for_the_original_s_client(stand, task_id)
    cancelled = submit(stand, path)["task_id"]
    requests.delete(f"{stand.url}/v1/tasks/{cancelled}", timeout=10)
    assert status(stand, cancelled)["status"] == "cancelled"
    failing = submit(stand, path)["task_id"]
    stand.fail(stand.claim(), "No luck.")
    assert ends_for_the_original_s_client(stand, failing)


@pytest.mark.parametrize(
    ("path", "data", "files", "word"),
    [
        ("/v1/tasks/video/form", {"infer_steps": "4", "video_duration": "5", "seed": "42"}, {}, "submitted"),
        ("/v1/tasks/video/form", {"save_result_path": ""}, {}, "pending"),
        ("/v1/tasks/video/form", {"use_prompt_enhancer": "false"}, {}, "pending"),
        ("/v1/tasks/video/form", {"target_fps": "16"}, {}, "pending"),
        ("/v1/tasks/video/form", {"target_video_length": "81"}, {}, "pending"),
        ("/v1/tasks/video/form", {}, {"last_frame_file": b"end"}, "pending"),
        ("/v1/tasks/video/form/", {}, {}, "pending"),
        ("/v1/tasks/image/form", {}, {}, "pending"),
    ],
)
def test_forms(
    shared_stand: Stand, path: str, data: dict[str, str], files: dict[str, bytes], word: str
) -> None:
    uploads = {name: (f"{name}.png", content) for name, content in {"image_file": b"png", **files}.items()}
    sent = requests.post(shared_stand.url + path, data={"prompt": "x", **data}, files=uploads, timeout=10)
    assert (sent.status_code, sent.json()["status"]) == (200, word), sent.text


def test_what_cannot_be_told_apart_has_a_setting(make_stand: StandMaker) -> None:
    stand = make_stand({"lightx2v": {"vocabulary": "server"}})
    for fields in DOCUMENT:
        task_id = submit(stand, **fields)["task_id"]
        stand.finish(stand.claim())
        assert ends_for_the_original_s_client(stand, task_id)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/tasks/sensenova-vision/"),
        ("POST", "/v1/tasks/sensenova-vision"),
        ("POST", "/v1/tasks/sensenova-vision/sync"),
        ("GET", "/v1/tasks/sensenova-vision/some-task/result"),
        ("POST", "/v1/tasks/audio/"),
        ("POST", "/v1/tasks/audio/form"),
        ("POST", "/v1/tasks/video/sync"),
        ("GET", "/v1/tasks/a/b/c"),
        ("GET", "/v1/service/nothing"),
    ],
)
def test_routes_that_are_not_there(shared_stand: Stand, method: str, path: str) -> None:
    answer = requests.request(method, shared_stand.url + path, json={"task": "depth"}, timeout=10)
    assert answer.status_code == 404, answer.text
    assert list(answer.json()) == ["detail"]
    if method == "POST" and "sensenova" in path:
        assert "SenseNova-Vision" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/tasks/video"), ("POST", "/v1/tasks/x/status")])
def test_methods_that_a_route_has_not(shared_stand: Stand, method: str, path: str) -> None:
    answer = requests.request(method, shared_stand.url + path, json={}, timeout=10)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
