"""The chat endpoints that two dialects share: who answers, how streams end, what a disconnect does."""

import json
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest
from framegate.core.jobs import JobState
from framegate.core.ports import UrlSource
from framegate.core.registry import ServedModel
from framegate.core.types import MediaKind, Task
from framegate.server.dialects.openai.chat.answers import ChatStream, Progress, Result
from framegate.server.dialects.openai_chat.convert import ChatPrompt, generation
from tests.support.event_stream import SoraTold, Told, ToldWithUsage
from tests.support.http_stand import BROKEN, CONTENT, MODEL, Stand, StandMaker, own_dialects
from tests.support.openai_types import check_completion, check_error, check_models
from tests.support.running import eventually


def ask(stand: Stand, content: Any = "a boat", **fields: Any) -> requests.Response:
    body = {"model": "ltx2_landscape", "messages": [{"role": "user", "content": content}], **fields}
    return requests.post(f"{stand.url}/v1/chat/completions", json=body, timeout=20, stream=True)


def error_of(answer: requests.Response) -> dict[str, Any]:
    return check_error(answer.json())


def test_the_model_decides_who_answers(stand: Stand) -> None:
    with stand.working():
        chat = ask(stand).json()
        sora = ask(stand, model="sora2-landscape-10s").json()
        other = ask(stand, model="Wan2.2-TI2V-5B").json()
    for body in (chat, sora, other):
        assert body.keys() == {"id", "object", "created", "model", "choices", "usage"}
        check_completion(body)
        assert body["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        [choice] = body["choices"]
        assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (
            0,
            "stop",
            "assistant",
        )
    start = f"Successfully generated video for: a boat\n\nGenerated Video URL: {stand.url}/view?filename="
    for body in (chat, other):
        text = body["choices"][0]["message"]["content"]
        assert text.startswith(start)
        assert text.endswith(".mp4&type=output")
        link = text.rpartition("URL: ")[2]
        assert requests.get(link, timeout=10).content == CONTENT[MediaKind.VIDEO]
    text = sora["choices"][0]["message"]["content"]
    assert text.startswith(f"```html\n<video src='{stand.url}/v1/files/")
    assert text.endswith("' controls></video>\n```")


def test_one_dialect_alone(make_stand: StandMaker) -> None:
    dialects = own_dialects()
    sora = make_stand(dialects={"sora2api": dialects["sora2api"]})
    names = {item["id"] for item in requests.get(f"{sora.url}/v1/models", timeout=10).json()["data"]}
    assert len(names) == 19
    assert names > {"gpt-image", "sora2-landscape-10s", "sora2pro-hd-portrait-15s"}
    answer = ask(sora)
    assert answer.status_code == 400
    assert error_of(answer) == {
        "message": "Invalid model: ltx2_landscape",
        "type": "invalid_request_error",
        "param": "model",
        "code": None,
    }


def test_openai_chat_alone(make_stand: StandMaker) -> None:
    stand = make_stand(dialects={"openai-chat": own_dialects()["openai-chat"]})
    with stand.working():
        text = ask(stand, model="sora2-landscape-10s").json()["choices"][0]["message"]["content"]
    assert text.startswith("Successfully generated video")


def test_a_model_configured_with_that_style(make_stand: StandMaker) -> None:
    stand = make_stand({"sora2api": {"models": ["ltx2_landscape"]}})
    with stand.working():
        text = ask(stand).json()["choices"][0]["message"]["content"]
    assert text.startswith("```html")


def test_prefixes_part_the_two(make_stand: StandMaker) -> None:
    stand = make_stand({"sora2api": {"prefix": "/sora"}})
    with stand.working():
        body = {"model": "sora2-landscape-10s", "messages": [{"role": "user", "content": "a boat"}]}
        answer = requests.post(f"{stand.url}/sora/v1/chat/completions", json=body, timeout=10)
        text = answer.json()["choices"][0]["message"]["content"]
        link = text.split("'")[1]
        assert link.startswith(f"{stand.url}/sora/v1/files/")
        assert requests.get(link, timeout=10).status_code == 200
        text = ask(stand, model="sora2-landscape-10s").json()["choices"][0]["message"]["content"]
    assert text.startswith("Successfully")


def test_a_shared_route_asks_for_a_key_if_one_of_them_does(make_stand: StandMaker) -> None:
    stand = make_stand({"sora2api": {"auth": False}}, auth={"keys": [{"name": "alice", "sha256": "0" * 64}]})
    answer = ask(stand)
    assert answer.status_code == 401
    assert error_of(answer) == {
        "message": "Invalid API key",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert requests.get(f"{stand.url}/v1/models", timeout=10).status_code == 401


def test_models(shared_stand: Stand) -> None:
    body = requests.get(f"{shared_stand.url}/v1/models", timeout=10).json()
    check_models(body)
    items = {item["id"]: item for item in body["data"]}
    assert {"ltx2_landscape", "sora2-landscape-10s", "gpt-image", "Wan2.2-TI2V-5B"} < items.keys()
    assert items["gpt-image-portrait"]["description"] == "Image 360×540"
    assert items["sora2pro-landscape-25s"]["description"] == (
        "Video 1280×720, 25 s, needs the plan chatgpt_pro"
    )
    for name, item in items.items():
        assert item.keys() == {"id", "object", "created", "owned_by", "description"}
        assert requests.get(f"{shared_stand.url}/v1/models/{name}", timeout=10).json() == item
    answer = requests.get(f"{shared_stand.url}/v1/models/no/such", timeout=10)
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_not_found"


QUESTIONS: list[tuple[dict[str, Any], int, str | None, str | None]] = [
    ({"messages": []}, 400, "messages", None),
    ({"messages": None}, 400, "messages", None),
    ({"messages": [{"role": "assistant", "content": "hello"}]}, 400, "messages", None),
    ({"messages": [{"role": "user", "content": ""}]}, 400, "messages", None),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, 400, "messages", None),
    ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 400, "messages", None),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages", None),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content", None),
    ({"model": "no-such-model"}, 404, "model", "model_not_found"),
    ({"model": "../../etc/passwd"}, 404, "model", "model_not_found"),
    ({"model": 5}, 400, "model", None),
    ({"model": "lightx2v-image"}, 400, "model", None),
    ({"seed": -1}, 400, "seed", None),
    ({"stream": "yes"}, 400, "stream", None),
]


@pytest.mark.parametrize(("fields", "status", "param", "code"), QUESTIONS)
def test_each_error(
    shared_stand: Stand, fields: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    answer = ask(shared_stand, **fields)
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code), error
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_what_is_missing(shared_stand: Stand) -> None:
    answer = requests.post(f"{shared_stand.url}/v1/chat/completions", json={}, timeout=10)
    assert error_of(answer)["message"] == "model is required; messages is required"


def test_the_last_user_message_counts(stand: Stand) -> None:
    messages = [
        {"role": "system", "content": "You make videos."},
        {"role": "user", "content": "a house"},
        {"role": "assistant", "content": "…"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a boat"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "text", "text": "at night"},
                {"type": "image_url", "image_url": "https://example.com/b.png"},
            ],
        },
        {"role": "assistant", "content": None},
    ]
    with stand.working():
        text = ask(stand, messages=messages, seed=7).json()["choices"][0]["message"]["content"]
    assert text.startswith("Successfully generated video for: a boat\nat night\n\n")
    [job] = stand.jobs()
    assert (job.request.prompt, job.request.task, job.seed) == ("a boat\nat night", Task.IMAGE_TO_VIDEO, 7)
    assert (job.request.width, job.request.height) == (1024, 576)
    assert [getattr(source, "url", "") for source in stand.media.taken] == ["https://example.com/b.png"]


def test_an_image_that_can_t_be_had(shared_stand: Stand) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": BROKEN}}]
    answer = ask(shared_stand, parts)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "messages")
    for url, words in (("ftp://example.com/a.png", "'ftp'"), ("a.png", "neither"), ("file-1", "is an id")):
        answer = ask(shared_stand, [parts[0], {"type": "image_url", "image_url": {"url": url}}])
        error = error_of(answer)
        assert (answer.status_code, error["param"]) == (400, "messages")
        assert words in error["message"]


def test_a_model_that_needs_an_image() -> None:
    spec = replace(MODEL, tasks=frozenset({Task.IMAGE_TO_VIDEO}))
    served = ServedModel("picky", spec)
    with pytest.raises(InvalidRequest, match="needs an image") as refused:
        generation(served, ChatPrompt("a boat", ""), None)
    assert refused.value.param == "messages"
    request = generation(served, ChatPrompt("a boat", BROKEN), 5)
    assert (request.task, request.seed, request.image) == (Task.IMAGE_TO_VIDEO, 5, UrlSource(BROKEN))


def test_a_failed_generation(stand: Stand) -> None:
    with stand.working(failing="The lamp broke."):
        answer = ask(stand)
        told = Told(ask(stand, stream=True))
    wanted = {"message": "The lamp broke.", "type": "server_error", "param": None, "code": None}
    assert answer.status_code == 500
    assert error_of(answer) == wanted
    assert told.error == wanted


async def test_a_cancelled_job(stand: Stand) -> None:
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(ask(stand)))
    thread.start()
    job = stand.wait_claim()
    await stand.store.cancel(job.id)
    stand.store.finish_cancelled(job.id)
    thread.join()
    assert answers[0].status_code == 500
    assert error_of(answers[0])["message"] == "The job was cancelled."


def test_no_worker(stand: Stand) -> None:
    stand.store.living.clear()
    answer = ask(stand)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert error_of(answer)["type"] == "server_error"


def test_a_stream(stand: Stand) -> None:
    with stand.working():
        told = Told(ask(stand, stream=True))
    assert told.progress.startswith("**Generation Process Begins**\n\n")
    assert told.content.startswith("Successfully generated video for: a boat\n\nGenerated Video URL: http://")
    [job] = stand.jobs()
    assert job.share_id in told.progress


MODELS = ("ltx2_landscape", "sora2-landscape-10s")


@pytest.mark.parametrize("model", MODELS)
def test_usage_is_told_to_whoever_asks(stand: Stand, model: str) -> None:
    """Without being asked, openai-chat says nothing, and sora2api what its document prints."""
    plain = Told if model == "ltx2_landscape" else SoraTold
    asking = {"include_usage": True}
    with stand.working():
        ToldWithUsage(ask(stand, model=model, stream=True, stream_options=asking))
        for options in (None, {}, {"include_usage": False}, {"include_usage": None, "x": 1}):
            plain(ask(stand, model=model, stream=True, stream_options=options))
        check_completion(ask(stand, model=model, stream_options=asking).json())
    with stand.working(failing="The lamp broke."):
        told = ToldWithUsage(ask(stand, model=model, stream=True, stream_options=asking))
        assert told.error is not None


@pytest.mark.parametrize("model", MODELS)
def test_only_the_message_that_counts_is_read(stand: Stand, model: str) -> None:
    """A chat holds whatever other models and front ends have put there."""
    earlier: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"type": "text", "text": "You make videos."}]},
        {"role": "system", "content": "You make videos.", "name": "x"},
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "image_url", "image_url": {"url": BROKEN, "detail": "low"}},
                {"type": "image_url", "image_url": None},
                "a bare text",
                {"no": "type"},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": {"any": "thing"}},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "audio": None},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "…"}]},
        {"role": "assistant"},
        {"role": "function", "name": "f", "content": 5},
    ]
    last = {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "a boat"},
            {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
            {"type": "image_url", "image_url": {"url": "https://example.com/b.png", "detail": "high"}},
        ],
    }
    hints = {
        "n": 1,
        "max_tokens": 5,
        "max_completion_tokens": None,
        "temperature": 0.5,
        "top_p": 1,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "user": "u",
        "metadata": {},
    }
    with stand.working():
        check_completion(ask(stand, model=model, messages=[*earlier, last], **hints).json())
    [job] = stand.jobs()
    assert (job.request.prompt, job.request.task) == ("a boat", Task.IMAGE_TO_VIDEO)
    assert [getattr(source, "url", "") for source in stand.media.taken] == ["https://example.com/b.png"]


BROKEN_CONTENTS: list[tuple[Any, str]] = [
    ({"type": "text"}, "messages[1].content"),
    (["a boat"], "messages[1].content[0]"),
    ([{"text": "a boat"}], "messages[1].content[0]"),
    ([{"type": "text", "text": 5}], "messages[1].content[0].text"),
    ([{"type": "image_url", "image_url": {"url": 5}}], "messages[1].content[0].image_url.url"),
    ([{"type": "file", "file": {}}], "messages"),
    ([{"type": "input_image", "file_id": "file-1"}], "messages"),
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("content", "param"), BROKEN_CONTENTS)
def test_what_is_wrong_in_the_message_that_counts(
    shared_stand: Stand, model: str, content: Any, param: str
) -> None:
    messages = [{"role": "user", "content": 5}, {"role": "user", "content": content}]
    answer = ask(shared_stand, model=model, messages=messages)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)


def test_progress_is_told_while_it_is_made(stand: Stand) -> None:
    with ask(stand, stream=True) as answer:
        lines = answer.iter_lines()
        job = stand.wait_claim()
        stand.store.advance(job.id, 0.5, "shot 2 of 3: Drawing frames")
        seen = ""
        while "(shot 2 of 3)" not in seen:
            seen += next(lines).decode()
        assert "50%" in seen
        stand.finish(job)
        rest = b"\n".join(lines).decode()
    assert rest.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["ltx2_landscape", "sora2-landscape-10s"])
@pytest.mark.parametrize("started", [True, False])
def test_whoever_leaves_cancels(stand: Stand, stream: bool, model: str, started: bool) -> None:
    claimer = threading.Thread(target=stand.wait_claim if started else str)
    claimer.start()
    leave(stand, stream=stream, model=model, after=claimer)

    def cancelled() -> bool:
        [now] = stand.jobs()
        return now.cancel_requested if started else now.state == JobState.CANCELLED

    eventually(cancelled, what="the cancel")
    assert stand.store.claim_next("w1") is None


@pytest.mark.parametrize("stream", [True, False])
def test_a_job_may_be_kept(make_stand: StandMaker, stream: bool) -> None:
    stand = make_stand({"openai-chat": {"on_disconnect": "keep"}, "sora2api": {"on_disconnect": "keep"}})
    for model in ("ltx2_landscape", "sora2-landscape-10s"):
        leave(stand, stream=stream, model=model)
        job = stand.wait_claim()
        time.sleep(0.1)  # a cancel would come in this time
        stand.finish(job)
        assert stand.job(job.id).state == JobState.SUCCEEDED


def leave(stand: Stand, *, stream: bool, model: str, after: threading.Thread | None = None) -> None:
    """Send a chat, and disconnect once its job exists and the thread ``after`` has ended."""
    before = len(stand.jobs())
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "a boat"}]}
    url = f"{stand.url}/v1/chat/completions"
    if stream:
        with requests.post(url, json=body, stream=True, timeout=10) as answer:
            lines = answer.iter_lines()  # once it is let go, the connection is closed
            next(lines)
            if after:
                after.join()
        return
    with closing(HTTPConnection(urlsplit(stand.url).netloc, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        eventually(lambda: len(stand.jobs()) == before + 1, what="the job")
        if after:
            after.join()


def test_views(stand: Stand) -> None:
    with stand.working():
        text = ask(stand).json()["choices"][0]["message"]["content"]
    link = text.rpartition("URL: ")[2]
    content = CONTENT[MediaKind.VIDEO]
    part = requests.get(link, headers={"Range": "bytes=5-9"}, timeout=10)
    assert (part.status_code, part.content) == (206, content[5:10])
    head = requests.head(link, timeout=10)
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, len(content))
    assert head.headers["Content-Type"] == "video/mp4"
    name = link.split("filename=")[1].split("&")[0]
    view = f"{stand.url}/view"
    assert requests.get(view, params={"filename": name}, timeout=10).status_code == 200
    requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "0" * 32}, timeout=10)
    other = stand.run_next()
    for params in (
        {"filename": name, "type": "input"},
        {"filename": name.replace(".mp4", ".png"), "type": "output"},
        {"filename": name.replace("_1.", "_2."), "type": "output"},
        {"filename": f"../{name}", "type": "output"},
        {"filename": "../../etc/passwd", "type": "output"},
        {"filename": "/etc/passwd", "type": "output"},
        {"filename": "", "type": "output"},
        {"filename": f"{other.id}_1.mp4", "type": "output"},
        {"filename": f"{'1' * 32}_1.mp4", "type": "output"},
    ):
        answer = requests.get(view, params=params, timeout=10)
        assert answer.status_code == 404, params
        error_of(answer)
    missing = requests.get(view, params={"type": "output", "other": "x" * 1000}, timeout=10)
    assert missing.status_code == 400
    assert missing.json()["error"] == {
        "message": "filename is required",
        "type": "invalid_request_error",
        "param": "filename",
        "code": None,
    }


def test_links_begin_with_the_public_url(make_stand: StandMaker) -> None:
    stand = make_stand(server={"public_url": "https://video.example.com/"})
    with stand.working():
        chat = ask(stand).json()["choices"][0]["message"]["content"]
        sora = ask(stand, model="sora2-landscape-10s").json()["choices"][0]["message"]["content"]
    assert "URL: https://video.example.com/view?" in chat
    assert "src='https://video.example.com/v1/files/" in sora


async def chunks_of(chat: ChatStream) -> list[dict[str, Any]]:
    *encoded, done = [chunk async for chunk in chat.chunks()]
    assert done == b"data: [DONE]\n\n"
    return [json.loads(chunk.removeprefix(b"data: ")) for chunk in encoded]


async def test_heartbeats() -> None:
    async def slow() -> AsyncGenerator[Progress | Result, None]:
        yield Progress("begin")
        yield Result("done")

    chat = ChatStream("m", slow())
    stream = chat.chunks()
    encoded = [await anext(stream), *(chat.keepalive() for _ in range(3)), await anext(stream)]
    assert [chunk async for chunk in stream] == [b"data: [DONE]\n\n"]
    deltas = [json.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"] for chunk in encoded]
    said = [delta["reasoning_content"] for delta in deltas]
    assert said == ["begin", *["Still working...\n"] * 3, None]
    assert ["role" in delta for delta in deltas] == [True, False, False, False, False]


async def test_a_fault_within_a_stream() -> None:
    async def faulty() -> AsyncGenerator[Progress | Result, None]:
        yield Progress("begin")
        raise RuntimeError("/etc/secret")

    [_, failure] = await chunks_of(ChatStream("m", faulty()))
    assert failure == {
        "error": {"message": "Internal error.", "type": "server_error", "param": None, "code": None}
    }
