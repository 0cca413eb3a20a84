"""openai-chat against the real server: curl, the example, and the official SDK."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded
from tests.support.event_stream import Told, ToldWithUsage
from tests.support.running import RunningServer

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "i2v_chat.py"


class TestContract(DialectContract):
    posts = ("/v1/chat/completions",)
    unknown_path = "/v1/chat/none"

    @pytest.fixture
    def base_url(self, small_server: RunningServer) -> str:
        return small_server.url

    def is_error_body(self, body: Any) -> bool:
        return isinstance(body, dict) and isinstance(body.get("error"), dict)  # pyright: ignore[reportUnknownMemberType] # plain JSON


@pytest.fixture
def sdk(small_server: RunningServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{small_server.url}/v1", api_key="anything", max_retries=0, timeout=90) as client:
        yield client


def link_in(content: str | None) -> str:
    assert content
    return content.rpartition("Generated Video URL: ")[2]


def image_parts(url: str, text: str = "the boat leaves") -> list[Any]:
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


@pytest.fixture
def data_uri(photo: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"


def test_a_shape_of_the_catalogue(small_server: RunningServer, pictures: str) -> None:
    body = {
        "model": "ltx2_landscape",
        "messages": [{"role": "user", "content": image_parts(f"{pictures}/photo.jpg")}],
    }
    answer = requests.post(f"{small_server.url}/v1/chat/completions", json=body, timeout=120)
    content = answer.json()["choices"][0]["message"]["content"]
    assert content.startswith("Successfully generated video for: the boat leaves\n\nGenerated Video URL: ")
    assert decoded(requests.get(link_in(content), timeout=60).content) == (1024, 576, 121, 24.0)


def test_the_other_shape_of_the_catalogue(small_server: RunningServer) -> None:
    """What is to be made says the job; the client leaves, which cancels it."""
    body = {"model": "ltx2_portrait", "messages": [{"role": "user", "content": "x"}], "stream": True}
    url = f"{small_server.url}/v1/chat/completions"
    with requests.post(url, json=body, stream=True, timeout=60) as answer:
        assert next(answer.iter_lines()).startswith(b"data: ")
        [job] = small_server.json("jobs", "list", "--limit", "1")
    [shot] = job["shots"]
    assert (shot["width"], shot["height"], shot["num_frames"], shot["fps"]) == (576, 1024, 121, 24.0)


@pytest.mark.smoke
def test_the_sdk(sdk: OpenAI, data_uri: str, pictures: str) -> None:
    videos: list[bytes] = []
    for url in (data_uri, f"{pictures}/photo.jpg"):
        completion = sdk.chat.completions.create(
            model="small-chat", messages=[{"role": "user", "content": image_parts(url)}], seed=1
        )
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None
        assert completion.usage.total_tokens == 0
        link = link_in(completion.choices[0].message.content)
        part = requests.get(link, headers={"Range": "bytes=0-3"}, timeout=60)
        assert (part.status_code, len(part.content)) == (206, 4)
        videos.append(requests.get(link, timeout=60).content)
    assert videos[0] == videos[1]
    assert decoded(videos[0])[:3] == (128, 96, 17)


@pytest.mark.parametrize("model", ["small-chat", "small"])
def test_the_sdk_s_streams(sdk: OpenAI, data_uri: str, model: str) -> None:
    content, progress, reasons = "", "", set[str | None]()
    with sdk.chat.completions.create(
        model=model, messages=[{"role": "user", "content": image_parts(data_uri)}], stream=True
    ) as stream:
        for chunk in stream:
            [choice] = chunk.choices
            content += choice.delta.content or ""
            progress += getattr(choice.delta, "reasoning_content", None) or ""
            reasons.add(choice.finish_reason)
    assert "The image was received." in progress
    assert reasons == {None, "stop"}
    link = link_in(content) if model == "small-chat" else content.split("'")[1]
    assert decoded(requests.get(link, timeout=60).content)[:2] == (128, 96)


@pytest.mark.parametrize("model", ["small-chat", "small"])
def test_a_front_end_s_title(small_server: RunningServer, sdk: OpenAI, model: str) -> None:
    """Open WebUI asks the chat's own model for one, and gets it without a video."""
    before = small_server.json("jobs", "list", "--limit", "1")
    completion = sdk.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat "
                'history.\n### Output:\nJSON format: { "title": "your concise title here" }\n'
                "### Chat History:\n<chat_history>\nUSER: the boat leaves\nASSISTANT: …\n</chat_history>",
            }
        ],
    )
    assert json.loads(completion.choices[0].message.content or "") == {"title": "The boat leaves"}
    assert small_server.json("jobs", "list", "--limit", "1") == before


def test_the_sdk_s_models(sdk: OpenAI) -> None:
    names = {model.id for model in sdk.models.list()}
    assert {"small", "small-chat", "ltx2_landscape", "sora2-landscape-10s", "gpt-image"} < names
    assert sdk.models.retrieve("small-chat").owned_by == "framegate"


def test_the_sdk_s_errors(sdk: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(model="none", messages=[{"role": "user", "content": "x"}])
    assert (missing.value.type, missing.value.param, missing.value.code) == (
        "invalid_request_error",
        "model",
        "model_not_found",
    )
    assert "none" in missing.value.message
    for model in ("small", "small-chat"):
        with pytest.raises(openai.BadRequestError) as bad:
            sdk.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": image_parts("data:image/png;base64,bm9uZQ==")}],
                stream=True,
            )
        assert bad.value.type == "invalid_request_error"
        assert bad.value.param == {"small": "image", "small-chat": "messages"}[model]


def test_a_stream(small_server: RunningServer) -> None:
    body = {"model": "small-chat", "stream": True, "messages": [{"role": "user", "content": "a boat"}]}
    asking = {**body, "stream_options": {"include_usage": True}}
    for fields, kind in ((body, Told), (asking, ToldWithUsage)):
        url = f"{small_server.url}/v1/chat/completions"
        told = kind(requests.post(url, json=fields, stream=True, timeout=60))
        assert told.content.startswith("Successfully generated video for: a boat\n\n")


def run_example(server: RunningServer, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments, "-o", str(output)],
        env={"FRAMEGATE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_the_example(small_server: RunningServer, pictures: str, photo: Path, tmp_path: Path) -> None:
    for number, arguments in enumerate(
        [
            ["base64", str(photo), "the boat leaves", "--model", "small-chat"],
            ["url", f"{pictures}/photo.jpg", "the boat leaves", "--model", "small-chat", "--stream"],
            ["url", f"{pictures}/photo.jpg", "the boat leaves", "--model", "small", "--stream"],
        ]
    ):
        output = tmp_path / f"{number}.mp4"
        done = run_example(small_server, output, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("http://127.0.0.1:")
        assert decoded(output.read_bytes())[:2] == (128, 96)
        assert ("Generation Process Begins" in done.stderr) == ("--stream" in arguments)
    failed = run_example(small_server, tmp_path / "x.mp4", "url", f"{pictures}/none.png", "x")
    assert failed.returncode == 1
    assert "400" in failed.stderr


def test_where_the_link_goes(small_server: RunningServer) -> None:
    """The host is the one that the client wrote."""
    body = {"model": "small-chat", "messages": [{"role": "user", "content": "a boat"}]}
    host = f"localhost:{small_server.port}"
    answer = requests.post(
        f"{small_server.url}/v1/chat/completions", json=body, headers={"Host": host}, timeout=60
    )
    link = link_in(answer.json()["choices"][0]["message"]["content"])
    assert link.startswith(f"http://{host}/view?filename=")
    assert decoded(requests.get(link, timeout=60).content)[2] == 17
