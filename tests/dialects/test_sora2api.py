"""sora2api against the real server: clients as its document has them, and what comes out."""

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded, difference
from tests.support.event_stream import SoraTold
from tests.support.openai_types import check_completion
from tests.support.running import RunningServer, eventually
from tests.support.small_models import SMALL_MODELS

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sora2api.py"


def post(server: RunningServer, path: str, **fields: Any) -> requests.Response:
    body = {"model": "small", **fields}
    return requests.post(f"{server.url}/v1/{path}", json=body, stream=True, timeout=120)


def chat(server: RunningServer, content: Any, **fields: Any) -> requests.Response:
    return post(server, "chat/completions", messages=[{"role": "user", "content": content}], **fields)


def made(content: str) -> bytes:
    """The file that the answer links to."""
    [link] = re.findall(r"http://[^'\")]+", content)
    answer = requests.get(link, timeout=60)
    assert answer.status_code == 200
    return answer.content


def waited(answer: requests.Response) -> bytes:
    assert answer.status_code == 200, answer.text
    return made(check_completion(answer.json()).choices[0].message.content or "")


def polled(server: RunningServer, answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    url = f"{server.url}/v1/tasks/{answer.json()['task_id']}"

    def done() -> dict[str, Any] | None:
        state: dict[str, Any] = requests.get(url, timeout=60).json()
        return None if state["status"] == "processing" else state

    return eventually(done, what="the end of the task")


class TestContract(DialectContract):
    posts = (
        "/v1/images/generate",
        "/v1/images/transform",
        "/v1/videos/generate",
        "/v1/videos/transform",
        "/v1/videos/remix",
        "/v1/videos/storyboard",
        "/v1/characters/create",
        "/v1/characters/generate",
        "/v1/chat/completions",
    )
    unknown_path = "/v1/videos/none"

    @pytest.fixture
    def base_url(self, small_server: RunningServer) -> str:
        return small_server.url

    def is_error_body(self, body: Any) -> bool:
        return isinstance(body, dict) and isinstance(body.get("error"), dict)  # pyright: ignore[reportUnknownMemberType] # plain JSON


def test_the_catalogue_s_size_and_length(small_server: RunningServer) -> None:
    told = SoraTold(
        post(small_server, "videos/generate", model="sora2-landscape-10s", prompt="x", stream=True)
    )
    assert decoded(made(told.content)) == (1280, 720, 300, 30.0)


def test_a_name_of_the_catalogue_for_a_model_of_one_s_own(small_server: RunningServer) -> None:
    fields = {"model": "sora2-portrait-25s", "seed": 3}
    data = waited(post(small_server, "videos/generate", prompt="a boat", **fields))
    assert decoded(data) == (96, 128, 30, 30.0)
    assert waited(chat(small_server, "a boat", **fields)) == data
    told = SoraTold(chat(small_server, "[0.5s]a boat [1.0s]a house", stream=True, **fields))
    assert decoded(made(told.content)) == (96, 128, 45, 30.0)


def test_images(small_server: RunningServer, photo: Path) -> None:
    image = base64.b64encode(photo.read_bytes()).decode()
    for path, fields in (("images/generate", {}), ("images/transform", {"image": image})):
        for model, size in (("gpt-image", (360, 360)), ("gpt-image-portrait", (360, 540))):
            data = waited(post(small_server, path, model=model, prompt="a red ball", **fields))
            with Image.open(io.BytesIO(data)) as picture:
                assert (picture.format, picture.size) == ("PNG", size)


@pytest.mark.smoke
def test_the_polling_loop(small_server: RunningServer) -> None:
    state = polled(small_server, post(small_server, "videos/generate", prompt="a boat", async_mode=True))
    assert (state["status"], state["progress"]) == ("completed", 100.0)
    [link] = state["result_urls"]
    whole = requests.get(link, timeout=60)
    assert whole.headers["Content-Type"] == "video/mp4"
    assert decoded(whole.content) == (128, 96, 30, 30.0)
    part = requests.get(link, headers={"Range": "bytes=10-19"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole.content[10:20])


def test_both_ways_make_the_same(small_server: RunningServer, photo: Path) -> None:
    image = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    text = {"type": "text", "text": "{anime} a boat"}
    parts = [text, {"type": "image_url", "image_url": {"url": image}}]
    fields = {"prompt": "a boat", "image": image, "style": "anime", "seed": 7}
    plain = waited(post(small_server, "videos/transform", **fields))
    streamed = made(SoraTold(chat(small_server, parts, seed=7, stream=True)).content)
    assert plain == streamed
    assert plain != waited(post(small_server, "videos/transform", **{**fields, "style": "comic"}))
    assert plain != waited(post(small_server, "videos/transform", **{**fields, "seed": 8}))


@pytest.mark.parametrize(
    "prompt",
    [
        "[5.0s]a boat [5.0s]a house [10.0s]a bridge",
        "At dusk.\n```\n[5.0s]a boat\n[5.0s]a house\n[10.0s]a bridge\n```",
    ],
)
def test_storyboards(small_server: RunningServer, prompt: str) -> None:
    fields = {"model": "small", "seed": 3}  # a name of 10 s
    told = SoraTold(post(small_server, "videos/storyboard", prompt=prompt, stream=True, **fields))
    assert "A storyboard of 3 shots was detected." in told.progress
    assert re.search(r"\(shot [123] of 3\)", told.progress)  # those of shots that follow quickly are left out
    data = made(told.content)
    assert decoded(data) == (128, 96, 600, 30.0)
    # Each seam is no wider than a step within a shot, and repeats no frame.
    usual = max(difference(data, number, number + 1) for number in range(145, 149))
    for seam in (149, 299):
        assert 0 < difference(data, seam, seam + 1) < 3 * usual + 3
    assert waited(chat(small_server, prompt, **fields)) == data
    task = polled(
        small_server, post(small_server, "videos/storyboard", prompt=prompt, async_mode=True, **fields)
    )
    assert requests.get(task["result_urls"][0], timeout=60).content == data


def test_remixes(small_server: RunningServer) -> None:
    told = SoraTold(post(small_server, "videos/generate", prompt="a boat", stream=True))
    [share] = re.findall(r"s_[0-9a-f]{32}", told.progress)
    link = f"{small_server.url}/p/{share}"
    remixed = waited(post(small_server, "videos/remix", prompt="at night", remix_target_id=share, seed=1))
    assert decoded(remixed) == (128, 96, 30, 30.0)
    assert remixed == waited(chat(small_server, f"{link} at night", seed=1))
    assert remixed == waited(chat(small_server, "at night", remix_target_id=link, seed=1))
    state = polled(small_server, post(small_server, "videos/generate", prompt="x", async_mode=True))
    assert re.fullmatch(r"s_[0-9a-f]{32}", state["remix_target_id"])
    unknown = post(small_server, "videos/remix", prompt="x", remix_target_id=f"s_{'0' * 32}")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["param"] == "remix_target_id"


def test_characters(small_server: RunningServer) -> None:
    video = base64.b64encode(waited(post(small_server, "videos/generate", prompt="a boat"))).decode()
    told = SoraTold(post(small_server, "characters/create", video=video, timestamps="0.2,0.8", stream=True))
    match = re.fullmatch(r"角色创建成功，角色名@([a-z0-9_]+\d{3})", told.content)
    assert match
    assert re.search(rf"✨ 角色已识别: .+ \(@{match[1]}\)", told.progress)
    mentioned = waited(post(small_server, "videos/generate", prompt=f"@{match[1]} waves", seed=1))
    nobody = waited(post(small_server, "videos/generate", prompt="@nobody000 waves", seed=1))
    assert mentioned != nobody
    before = small_server.json("characters", "list")
    told = SoraTold(post(small_server, "characters/generate", prompt="they wave", video=video, stream=True))
    assert decoded(made(told.content))[:3] == (128, 96, 30)
    assert small_server.json("characters", "list") == before


def test_a_video_without_a_picture(small_server: RunningServer) -> None:
    before = small_server.json("characters", "list")
    for path in ("characters/create", "characters/generate"):
        answer = post(small_server, path, prompt="x", video="bm8gdmlkZW8=", stream=True)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "video"
    assert small_server.json("characters", "list") == before


def test_whoever_leaves_makes_room(small_server: RunningServer) -> None:
    """The one worker takes the next job, long before the other would have ended."""
    with post(small_server, "videos/generate", model="endless", prompt="x", stream=True) as answer:
        for line in answer.iter_lines():
            if b"Drawing frames" in line:
                break
    assert decoded(waited(post(small_server, "videos/generate", prompt="a boat")))[2] == 30
    newest, oldest = small_server.json("jobs", "list", "--limit", "2")
    assert (newest["state"], oldest["state"], oldest["model"]) == ("succeeded", "cancelled", "endless")
    assert oldest["progress"] < 0.9, "it did not run to its end before"


def test_a_stopping_server_ends_its_streams(start_server: Callable[..., RunningServer]) -> None:
    config = f"{SMALL_MODELS}\n[server]\nshutdown_grace = 1\n"
    server = start_server(config=config)
    with post(server, "videos/generate", model="endless", prompt="x", stream=True) as answer:
        server.terminate()
        told = SoraTold(answer)
    assert told.error is not None
    assert told.error["type"] == "server_error"
    assert server.stop() == 0, server.log_text()
    assert "Traceback" not in server.log_text()


def run_example(server: RunningServer, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), "--model", "small", "-o", str(output), *arguments],
        env={"FRAMEGATE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_the_example(small_server: RunningServer, photo: Path, pictures: str, tmp_path: Path) -> None:
    remixed = polled(small_server, post(small_server, "videos/generate", prompt="x", async_mode=True))
    for number, arguments in enumerate(
        [
            ["a boat", "--style", "anime"],
            ["a boat", "--image", str(photo), "--way", "poll"],
            ["a boat", "--image", f"{pictures}/photo.jpg", "--way", "wait"],
            ["[0.5s]a boat [0.5s]a house", "--storyboard", "--way", "poll"],
            ["at night", "--remix", remixed["remix_target_id"]],
        ]
    ):
        output = tmp_path / f"{number}.mp4"
        done = run_example(small_server, output, *arguments)
        assert done.returncode == 0, done.stderr
        assert decoded(output.read_bytes())[:3] == (128, 96, 30)
    failed = run_example(small_server, tmp_path / "x.mp4", "x", "--style", "none")
    assert failed.returncode == 1
    assert "style" in failed.stderr
