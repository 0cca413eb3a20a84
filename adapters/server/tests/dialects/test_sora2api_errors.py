"""What sora2api refuses, and in which words."""

import hashlib
from typing import Any

import pytest
import requests

from tests.support.http_stand import BROKEN, Stand, StandMaker, own_dialects
from tests.support.sora2api_client import PICTURE, UNKNOWN, VIDEO, chat, post, refused

REQUESTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("images/generate", {}, "prompt", "prompt is required"),
    ("videos/generate", {"model": "nope"}, "prompt", "prompt is required"),
    ("videos/generate", {"prompt": ""}, "prompt", "prompt is required"),
    ("videos/generate", {"prompt": " \n"}, "prompt", "prompt is required"),
    ("videos/generate", {"prompt": 5}, "prompt", "string"),
    ("videos/generate", {"prompt": "x", "stream": "maybe"}, "stream", "boolean"),
    ("videos/generate", {"prompt": "x", "seed": -1}, "seed", "0"),
    ("videos/generate", {"prompt": "", "model": "nope"}, "model", "Invalid model: nope"),
    (
        "videos/generate",
        {"prompt": "", "model": "gpt-image"},
        "model",
        "Model gpt-image is not a video model",
    ),
    (
        "images/generate",
        {"prompt": "", "model": "sora2-landscape-10s"},
        "model",
        "Model sora2-landscape-10s is not an image model",
    ),
    ("videos/generate", {"prompt": "x", "style": "baroque"}, "style", "baroque"),
    ("images/transform", {"prompt": "x"}, "image", "image is required"),
    ("videos/transform", {"prompt": "x"}, "image", "image is required"),
    ("videos/transform", {"prompt": "x", "image": ""}, "image", "image is required"),
    ("videos/transform", {"prompt": "x", "image": BROKEN}, "image", "can't be read"),
    ("videos/transform", {"prompt": "x", "image": "ftp://example.com/a.png"}, "image", "'ftp'"),
    ("videos/transform", {"prompt": "x", "image": "/home/cat.png"}, "image", "'/home/cat.png' is neither"),
    ("videos/transform", {"prompt": "x", "image": "file-abc123"}, "image", "'file-abc123' is an id"),
    ("videos/remix", {"prompt": "x"}, "remix_target_id", "remix_target_id is required"),
    ("videos/remix", {"prompt": "x", "remix_target_id": " "}, "remix_target_id", "is required"),
    ("videos/storyboard", {}, "prompt", "prompt is required"),
    ("videos/storyboard", {"prompt": "no shots"}, "prompt", "[5.0s]"),
    ("videos/storyboard", {"prompt": "[30s]a [5]b [s]c [30.1s]d"}, "prompt", "add up to 60.1 s; they may"),
    ("videos/storyboard", {"prompt": "[30s]a [5]b [s]c [30.1s]d"}, "prompt", "at most 60 s"),
    ("videos/storyboard", {"prompt": "[99999999999999999999.0s]a"}, "prompt", "1e+20 s"),
    ("videos/storyboard", {"prompt": "[1e9s]a"}, "prompt", "[5.0s]"),
    ("videos/storyboard", {"prompt": "[.01s]a" * 65}, "prompt", "has 65 shots; at most 64"),
    ("videos/storyboard", {"prompt": "[1s]a" * 19_000}, "prompt", "19,000 shots"),
    ("videos/storyboard", {"prompt": "a" * 50_000 + "[1s]b" * 9_000}, "prompt", "9,000 shots"),
    (
        "videos/storyboard",
        {"prompt": "a" * 2_000 + "[.1s]b" * 51},
        "prompt",
        "each of 51 shots, which makes 102",
    ),
    ("videos/storyboard", {"prompt": "[5s]" + "a" * 100_000}, "prompt", "100,004 characters"),
    ("videos/storyboard", {"prompt": "[0s]a"}, "prompt", "Shot 1"),
    ("videos/storyboard", {"prompt": "[5s][5s]b"}, "prompt", "storyboard"),
    ("videos/storyboard", {"prompt": f"[{'9' * 400}s]a"}, "prompt", "inf"),
    ("characters/create", {"stream": True}, "video", "video is required"),
    ("characters/create", {"stream": True, "video": ""}, "video", "video is required"),
    ("characters/create", {"video": VIDEO}, "stream", "stream"),
    ("characters/create", {"video": VIDEO, "stream": False}, "stream", "stream"),
    ("characters/create", {"video": BROKEN, "stream": True}, "video", "can't be read"),
    ("characters/create", {"video": VIDEO, "stream": True, "timestamps": "3,1"}, "timestamps", "0,3"),
    ("characters/create", {"video": VIDEO, "stream": True, "timestamps": "a"}, "timestamps", "0,3"),
    ("characters/create", {"video": VIDEO, "stream": True, "timestamps": "90,95"}, "timestamps", "2"),
    ("characters/create", {"video": "ftp://example.com/a.mp4", "stream": True}, "video", "'ftp'"),
    ("characters/generate", {"video": VIDEO}, "prompt", "prompt is required"),
    ("characters/generate", {"prompt": "x"}, "video", "video is required"),
    ("characters/generate", {"prompt": "x", "video": VIDEO}, "stream", "stream"),
    ("characters/generate", {"prompt": "x", "video": VIDEO, "model": "nope"}, "model", "Invalid model: nope"),
    ("characters/generate", {"prompt": " ", "video": VIDEO, "stream": True}, "prompt", "prompt is required"),
    ("characters/generate", {"prompt": "x", "video": BROKEN, "stream": True}, "video", "can't be read"),
]


@pytest.mark.parametrize(("path", "fields", "param", "message"), REQUESTS)
async def test_each_error(stand: Stand, path: str, fields: dict[str, Any], param: str, message: str) -> None:
    error = refused(post(stand, path, **fields), 400, param, message)
    assert error["type"] == "invalid_request_error"
    assert not stand.jobs()
    assert await stand.services.characters.list() == []


CHATS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("sora2-landscape-10s", "", {}, "prompt"),
    ("sora2-landscape-10s", "{anime}", {}, "prompt"),
    ("sora2-landscape-10s", [{"type": "image_url", "image_url": {"url": PICTURE}}], {}, "prompt"),
    ("sora2-landscape-10s", "x", {"style": "baroque"}, "style"),
    ("sora2-landscape-10s", "x", {"image": BROKEN}, "image"),
    ("sora2-landscape-10s", "x", {"video": BROKEN}, "video"),
    ("sora2-landscape-10s", "[50s]a [10.5s]b", {}, "prompt"),
    ("sora2-landscape-10s", "[1s]a" * 65, {}, "prompt"),
    ("sora2-landscape-10s", "http://" * 20_000 + f" {UNKNOWN}", {}, "prompt"),
    ("gpt-image", "x", {"video": VIDEO}, "model"),
    ("gpt-image", "x", {"remix_target_id": UNKNOWN}, "model"),
]


@pytest.mark.parametrize(("model", "content", "fields", "param"), CHATS)
def test_each_error_in_chat(
    stand: Stand, model: str, content: Any, fields: dict[str, Any], param: str
) -> None:
    refused(chat(stand, model, content, **fields), 400, param)
    assert not stand.jobs()


def test_paths_that_are_not_there(shared_stand: Stand) -> None:
    for path in ("", "/nope", "/videos/nope/nope", "/videos/generate/more", "/files/nope", "/images"):
        refused(requests.get(f"{shared_stand.url}/v1{path}", timeout=10), 404, None)


def key(name: str, **limits: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **limits}


NO_KEY = {"message": "Invalid API key", "type": "authentication_error", "param": None, "code": None}
"""As the document prints it."""


def test_the_printed_errors(shared_stand: Stand) -> None:
    for fields, message, param in (
        ({"prompt": "x", "model": "invalid-model"}, "Invalid model: invalid-model", "model"),
        ({"model": "sora2-landscape-10s"}, "prompt is required", "prompt"),
    ):
        error = refused(post(shared_stand, "videos/generate", **fields), 400, param)
        assert error == {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    for path in ("/v1/nope", "/v1/videos/nope/nope", "/v1/tasks/task_nope"):
        error = requests.get(shared_stand.url + path, timeout=10).json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", None)


def test_a_401_of_the_shared_routes(make_stand: StandMaker) -> None:
    """OpenAI's dialect names a code there; where sora2api is alone, it answers as its document prints."""
    auth = {"keys": [key("alice")]}
    dialects = own_dialects()
    both = "invalid_api_key"
    for stand, code in (
        (make_stand(auth=auth), both),
        (make_stand(auth=auth, dialects=dict(reversed(dialects.items()))), both),
        (make_stand({"openai-chat": {"auth": False}}, auth=auth), both),
        (make_stand({"openai-chat": {"prefix": "/chat"}}, auth=auth), None),
        (make_stand(auth=auth, dialects={"sora2api": dialects["sora2api"]}), None),
    ):
        for answer in (
            chat(stand, "sora2-landscape-10s", "x"),
            requests.get(f"{stand.url}/v1/models", timeout=10),
        ):
            assert refused(answer, 401, None) == {**NO_KEY, "code": code}
        assert refused(post(stand, "images/generate", prompt="x"), 401, None) == NO_KEY


def test_plans_and_keys(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("basic"), key("pro", plan="chatgpt_pro")]})
    fields = {"prompt": "x", "model": "sora2pro-landscape-10s", "async_mode": True}
    for wrong in ("", "nobody"):
        for body in ({}, fields):
            error = refused(post(stand, "videos/generate", key=wrong, **body), 401, None)
            assert error == NO_KEY
    error = refused(post(stand, "videos/generate", key="basic", **fields), 403, None)
    assert error["message"].startswith("No available Pro tokens. ")
    assert (error["type"], error["code"]) == ("server_error", None)
    accepted = post(stand, "videos/generate", key="pro", **fields).json()
    task = f"{stand.url}/v1/tasks/{accepted['task_id']}"
    stand.run_next()
    assert refused(requests.get(task, timeout=10), 401, None) == NO_KEY
    refused(requests.get(task, headers={"Authorization": "Bearer basic"}, timeout=10), 404, "task_id")
    state = requests.get(task, headers={"Authorization": "Bearer pro"}, timeout=10).json()
    assert requests.get(state["result_urls"][0], timeout=10).status_code == 200


def test_a_key_s_limit(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice", max_active=1), key("bob")]})
    assert post(stand, "videos/generate", key="alice", prompt="x", async_mode=True).ok
    answer = post(stand, "videos/generate", key="alice", prompt="x", stream=True)
    error = refused(answer, 429, None)
    assert error["type"] == "rate_limit_error"
    assert int(answer.headers["Retry-After"]) > 0
    assert post(stand, "videos/generate", key="bob", prompt="x", async_mode=True).ok


def test_no_worker(stand: Stand) -> None:
    stand.store.living.clear()
    ways: list[dict[str, Any]] = [{"stream": True}, {"async_mode": True}, {}]
    for way in ways:
        answer = post(stand, "videos/generate", prompt="x", **way)
        error = refused(answer, 503, None, "No available tokens for video generation. ")
        assert error["type"] == "server_error"
        assert int(answer.headers["Retry-After"]) > 0
