"""One rule for all dialects: what is accepted, and how long calls wait, while no worker is alive."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest
import requests

from framegate.core import availability
from framegate.core.jobs import JobState
from tests.support.http_stand import WORKER, Stand, StandMaker

Message: TypeAlias = Callable[[Any], str]
"""Return the message in an error body, which has nothing else where the dialect has nothing else."""

CHAT = [{"role": "user", "content": "a boat"}]
REASON = "No worker that runs the model {} is alive; try again shortly."


def openai(body: Any) -> str:
    (error,) = body.values()
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, None)
    return str(error["message"])


def lightx2v(body: Any) -> str:
    (detail,) = body.values()
    return str(detail)


def wan21(body: Any) -> str:
    assert body["detail"].keys() == {"status", "reason"}
    assert body["detail"]["status"] == "Failed"
    return str(body["detail"]["reason"])


def wan22(body: Any) -> str:
    (error,) = body.values()
    return str(error)


class Call:
    """A call that needs a worker, and how its dialect says that there is none."""

    def __init__(
        self, path: str, body: Mapping[str, Any], message: Message, model: str, text: str = ""
    ) -> None:
        self.path = path
        self.body = body
        self.message = message
        self.text = text or REASON.format(model)

    def __repr__(self) -> str:
        return f"{self.path} {sorted(self.body)}"

    def send(self, stand: Stand) -> requests.Response:
        return requests.post(stand.url + self.path, json=self.body, timeout=60)

    def refused(self, answer: requests.Response) -> None:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert self.message(answer.json()) == self.text


SORA = "sora2-landscape-10s"
VIDEO = (
    "No available tokens for video generation. All tokens are either disabled, cooling down, Sora2 quota "
    "exhausted, don't support Sora2, or expired."
)
IMAGE = "No available tokens for image generation. All tokens are either disabled, cooling down, or expired."
TASKS = [
    Call("/v1/tasks/video", {"prompt": "a boat"}, lightx2v, "lightx2v"),
    Call("/v1/tasks/", {"prompt": "a boat"}, lightx2v, "lightx2v"),
    Call("/v1/tasks/image", {"prompt": "a boat"}, lightx2v, "lightx2v-image"),
    Call("/v1/videos", {"prompt": "a boat"}, openai, "sora-2"),
    Call(
        "/video/submit",
        {"prompt": "a boat on a lake", "image_url": "https://example.com/a.png"},
        wan21,
        "Wan2.1-I2V-14B-480P",
    ),
    Call("/v1/videos/generate", {"prompt": "a boat", "async_mode": True}, openai, SORA, VIDEO),
    Call(
        "/v1/videos/storyboard",
        {"prompt": "[5.0s]a boat [5.0s]a lake", "async_mode": True},
        openai,
        SORA,
        VIDEO,
    ),
    Call("/v1/images/generate", {"prompt": "a boat", "async_mode": True}, openai, "gpt-image", IMAGE),
]
WAITING = [
    Call("/predict", {"prompt": "a boat"}, wan22, "Wan2.2-TI2V-5B"),
    Call("/v1/tasks/image/sync", {"prompt": "a boat"}, lightx2v, "lightx2v-image"),
    Call("/v1/images/generations", {"prompt": "a boat"}, openai, "gpt-image-2"),
    Call("/v1/chat/completions", {"model": "ltx2_landscape", "messages": CHAT}, openai, "ltx2_landscape"),
    Call("/v1/chat/completions", {"model": SORA, "messages": CHAT}, openai, SORA, VIDEO),
    Call("/v1/images/generate", {"prompt": "a boat"}, openai, "gpt-image", IMAGE),
]
STREAMS = [
    Call("/v1/images/generations", {"prompt": "a boat", "stream": True}, openai, "gpt-image-2"),
    Call(
        "/v1/chat/completions",
        {"model": "ltx2_landscape", "messages": CHAT, "stream": True},
        openai,
        "ltx2_landscape",
    ),
    Call("/v1/chat/completions", {"model": SORA, "messages": CHAT, "stream": True}, openai, SORA, VIDEO),
    Call("/v1/videos/generate", {"prompt": "a boat", "stream": True}, openai, SORA, VIDEO),
]


@pytest.mark.parametrize("call", [*TASKS, *WAITING, *STREAMS], ids=repr)
def test_without_a_worker_nothing_is_accepted(shared_stand: Stand, call: Call) -> None:
    shared_stand.store.living.clear()
    call.refused(call.send(shared_stand))
    assert shared_stand.jobs() == []


def test_a_form_is_refused_likewise(shared_stand: Stand) -> None:
    shared_stand.store.living.clear()
    answer = requests.post(
        f"{shared_stand.url}/v1/tasks/video/form",
        data={"prompt": "a boat"},
        files={"image_file": ("a.png", b"png")},
        timeout=60,
    )
    assert (answer.status_code, lightx2v(answer.json())) == (503, REASON.format("lightx2v"))


def test_tasks_are_accepted_within_the_grace(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "MAX_AGE_SECONDS", 0.0)
    stand = make_stand(worker_grace=120)
    stand.store.living.clear()
    stand.store.last_seen["preview"] = time.monotonic() - 60
    for call in TASKS:
        assert call.send(stand).ok, call
    assert len(stand.jobs()) == len(TASKS)
    stand.store.last_seen["preview"] = time.monotonic() - 121
    for call in TASKS:
        call.refused(call.send(stand))
    assert {job.state for job in stand.jobs()} == {JobState.QUEUED}, "what was accepted stays"


def test_waiting_calls_end_when_the_grace_is_over(make_stand: StandMaker) -> None:
    stand = make_stand({"openai-chat": {"on_disconnect": "keep"}}, worker_grace=0)
    with ThreadPoolExecutor(len(WAITING) + len(STREAMS)) as pool:
        answers = [(call, pool.submit(call.send, stand)) for call in WAITING]
        streams = [(call, pool.submit(call.send, stand)) for call in STREAMS]
        while len(stand.jobs()) < len(answers) + len(streams):
            time.sleep(0.01)
        stand.store.living.clear()
        for call, answer in answers:
            call.refused(answer.result())
        for call, answer in streams:
            assert answer.result().status_code == 200
            assert call.message(last_error(answer.result().text)) == call.text
    assert {job.state for job in stand.jobs()} == {JobState.CANCELLED}


def last_error(stream: str) -> Any:
    """Return the error event of a stream, after which nothing but its end may come."""
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    if events[-1] == "[DONE]":
        events.pop()
    return json.loads(events[-1])


def test_readiness_within_and_after_the_grace(make_stand: StandMaker) -> None:
    stand = make_stand(worker_grace=120)
    stand.store.living.clear()
    stand.store.last_seen["preview"] = time.monotonic() - 60
    ready = requests.get(f"{stand.url}/status", timeout=10)
    assert (ready.status_code, ready.json()["status"], ready.json()["workers"]) == (200, "degraded", 0)
    assert ready.json()["problems"] == ["No worker is alive; jobs wait until one is."]
    stand.store.last_seen["preview"] = time.monotonic() - 121
    ready = requests.get(f"{stand.url}/status", timeout=10)
    assert (ready.status_code, ready.json()["status"]) == (503, "no workers")
    stand.store.living.append(WORKER)
    assert requests.get(f"{stand.url}/status", timeout=10).json()["status"] == "ready"
