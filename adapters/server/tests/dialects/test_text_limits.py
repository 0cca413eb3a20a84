"""The longest texts of every dialect: longer ones are refused before they are read, in its own body."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from framegate.core.admission import MAX_PROMPT
from framegate.server.dialects.openai.chat.parts import MAX_PARTS
from framegate.server.dialects.openai.chat.schemas import MAX_MESSAGES
from tests.support.http_stand import Stand

LONG = "x" * (MAX_PROMPT + 1)
IMAGE = "https://example.com/cat.png"
CHAT, SORA = {"model": "ltx2_landscape"}, {"model": "sora2-landscape-10s"}
TOOLS = {"tools": [{"type": "image_generation"}]}


def said(content: Any, number: int = 1) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}] * number}


TOO_LONG: list[tuple[str, Mapping[str, Any]]] = [
    *((path, {"prompt": LONG, "num_frames": 25}) for path in ("/predict", "/v1/videos")),
    *((path, {"prompt": "x", "negative_prompt": LONG}) for path in ("/predict", "/v1/videos")),
    ("/v1/images/generations", {"prompt": LONG}),
    ("/v1/images/generations", {"prompt": "x", "negative_prompt": LONG}),
    ("/v1/images/edits", {"prompt": LONG, "images": [{"image_url": IMAGE}]}),
    ("/v1/images/generations", {"prompt": "x", "user": LONG}),
    ("/v1/tasks/video", {"prompt": LONG}),
    ("/v1/tasks/image", {"prompt": "x", "negative_prompt": LONG}),
    ("/v1/tasks/video", {"prompt": "x", "task_id": LONG}),
    ("/v1/tasks/video", {"prompt": "x", "save_result_path": LONG}),
    ("/v1/tasks/image", {"prompt": "x", "aspect_ratio": LONG}),
    ("/v1/tasks/video", {"prompt": "x", "image_path": "https://example.com/" + LONG}),
    ("/v1/tasks/video", {"prompt": "x", "image_path": "a./" * 300_000}),
    ("/video/submit", {"prompt": LONG, "image_url": IMAGE}),
    ("/video/submit", {"prompt": "a boat at dawn", "image_url": f"{IMAGE}?{LONG}"}),
    ("/video/submit", {"prompt": "a boat at dawn", "negative_prompt": LONG, "image_url": IMAGE}),
    ("/video/status", {"requestId": LONG}),
    ("/v1/images/generate", {"prompt": LONG}),
    ("/v1/videos/generate", {"prompt": LONG, "async_mode": True}),
    ("/v1/videos/generate", {"prompt": "x", "style": LONG, "async_mode": True}),
    ("/v1/videos/storyboard", {"prompt": "c" * 180_000 + "[.001s]a" * 22_500, "async_mode": True}),
    ("/v1/videos/storyboard", {"prompt": "c" * 1_000 + "[.001s]a" * 10_000, "async_mode": True}),
    ("/v1/videos/storyboard", {"prompt": "c" * 50_000 + "[.1s]a" * 60, "async_mode": True}),
    ("/v1/videos/remix", {"prompt": "x", "remix_target_id": "s_" * 10_000}),
    ("/v1/characters/create", {"video": IMAGE, "timestamps": "1," * 10_000, "stream": True}),
    ("/v1/characters/create", {"video": f"{IMAGE}?{LONG}", "stream": True}),
    ("/v1/chat/completions", {**CHAT, **said(LONG)}),
    ("/v1/chat/completions", {**SORA, **said(" " * 80_000 + LONG)}),
    ("/v1/chat/completions", {**SORA, **said("http://" * 8_571 + " s_" + "0" * 32 + LONG)}),
    ("/v1/chat/completions", {**CHAT, **said("x", MAX_MESSAGES + 1)}),
    ("/v1/chat/completions", {**CHAT, **said([{"type": "text", "text": "x"}] * (MAX_PARTS + 1))}),
    ("/v1/chat/completions", {**CHAT, **said([{"type": "text", "text": "x" * 1_000}] * 101)}),
    ("/v1/chat/completions", {**SORA, **said([{"type": "text", "text": "x" * 1_000}] * 101)}),
    ("/v1/responses", {"input": LONG, **TOOLS}),
    ("/v1/responses", {"input": [{"role": "user", "content": LONG}], **TOOLS}),
    ("/v1/responses", {"input": "x", "instructions": LONG, **TOOLS}),
    ("/v1/responses", {"input": "x", "tools": TOOLS["tools"] * 200}),
    ("/v1/videos", {"prompt": "x", "metadata": {"a": LONG}}),
    ("/v1/videos", {"prompt": "x", "metadata": {LONG: "a"}}),
    ("/v1/videos", {"prompt": "x", "metadata": {str(number): "a" for number in range(50_000)}}),
    ("/v1/videos", {"prompt": "x", "seconds": "1" * 500_000}),
    ("/v1/videos", {"prompt": "x", "size": "1" * 500_000}),
    ("/v1/videos", {"prompt": "x", "webhook_url": f"{IMAGE}?{LONG}"}),
    ("/v1/videos", {"prompt": "x", "image_url": f"{IMAGE}?{LONG}"}),
    ("/v1/videos", {"prompt": "x", "image_url": f"{IMAGE}?{'x' * 24_000_000}"}),
    ("/v1/videos", {"prompt": "x", "characters": [{"id": LONG}]}),
    ("/v1/videos/edits", {"prompt": "x", "video": {"id": LONG}}),
]


@pytest.mark.parametrize(
    ("path", "body"), TOO_LONG, ids=[f"{path}-{list(body)[-1]}" for path, body in TOO_LONG]
)
def test_long_texts_are_refused_at_little_cost(
    shared_stand: Stand, path: str, body: Mapping[str, Any]
) -> None:
    known, started = len(shared_stand.jobs()), time.process_time()
    answer = requests.post(shared_stand.url + path, json=body, timeout=50)
    assert answer.status_code in (400, 404, 422), answer.text
    assert {"error", "detail"} & answer.json().keys()
    assert len(answer.content) < 10_000
    assert time.process_time() - started < 5  # this process is both client and server
    assert len(shared_stand.jobs()) == known


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/videos", {"prompt": LONG[1:]}),
        ("/v1/tasks/video", {"prompt": LONG[1:], "negative_prompt": LONG[1:]}),
        ("/v1/videos/generate", {"prompt": LONG[1:], "async_mode": True}),
        ("/v1/videos/storyboard", {"prompt": "[5s]" + "a" * 99_996, "async_mode": True}),
    ],
)
def test_the_longest_texts_are_taken(shared_stand: Stand, path: str, body: Mapping[str, Any]) -> None:
    answer = requests.post(shared_stand.url + path, json=body, timeout=50)
    assert answer.status_code == 200, answer.text


def test_a_response_does_not_repeat_its_mask(shared_stand: Stand) -> None:
    mask = {"image_url": "data:image/png;base64," + "A" * 2_000_000}
    tool = {"type": "image_generation", "size": "1024x1024", "input_image_mask": mask, "x" * 100_000: 1}
    content = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": IMAGE}]
    body = {"input": [{"role": "user", "content": content}], "tools": [tool], "stream": True}
    with shared_stand.working():
        answer = requests.post(f"{shared_stand.url}/v1/responses", json=body, timeout=50)
    assert answer.status_code == 200, answer.text
    assert "1024x1024" in answer.text
    assert len(answer.content) < 20_000
