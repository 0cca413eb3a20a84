"""From a dialect's request to the file, through ComfyUI."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pytest
import requests
from PIL import Image

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.serving import (
    chat,
    data_uri,
    difference,
    download_linked,
    frames_of,
    mirrored,
    submit,
    wait_for_task,
)
from tests.support.running import RunningServer, eventually

EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "i2v_chat.py"

Maker: TypeAlias = Callable[[RunningServer, Path, int], bytes]


def by_openai_chat(server: RunningServer, photo: Path, seed: int) -> bytes:
    return download_linked(chat(server, "small", "a boat", data_uri(photo), seed=seed))


def by_sora2api(server: RunningServer, photo: Path, seed: int) -> bytes:
    task_id = submit(server, "small", "a boat", data_uri(photo), seed=seed)
    task = wait_for_task(server, task_id)
    assert task["status"] == "completed", task
    return requests.get(task["result_urls"][0], timeout=30).content


def by_lightx2v(server: RunningServer, photo: Path | None, seed: int, **fields: object) -> bytes:
    body = {
        "prompt": "a boat",
        "image_path": "" if photo is None else data_uri(photo),
        "seed": seed,
        "width": 128,
        "height": 96,
        "target_video_length": 9,
        "target_fps": 24,
        **fields,
    }
    response = requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=30)
    assert response.status_code == 200, response.text
    url = f"{server.url}/v1/tasks/{response.json()['task_id']}"

    def ended() -> dict[str, Any] | None:
        now: dict[str, Any] = requests.get(f"{url}/status", timeout=10).json()
        return now if now["end_time"] else None

    assert eventually(ended, seconds=90)["progress"] == 1.0
    return requests.get(f"{url}/result", timeout=30).content


@pytest.mark.parametrize("make", [by_openai_chat, by_sora2api, by_lightx2v])
def test_an_image_becomes_a_video(framegate: RunningServer, photo: Path, make: Maker) -> None:
    first, second = make(framegate, photo, 1), make(framegate, photo, 2)
    for video in (first, second):
        frames = frames_of(video)
        assert len(frames) == 9
        assert difference(frames, photo) < 8
        assert difference(frames, mirrored(photo)) > 25
    assert first != second
    assert (frames_of(first) != frames_of(second)).mean() > 0.5


def test_the_same_seed_makes_the_same_frames(framegate: RunningServer, photo: Path) -> None:
    """ComfyUI would response an unchanged graph from its cache, without a new file."""
    first, again = by_openai_chat(framegate, photo, 11), by_openai_chat(framegate, photo, 11)
    difference = frames_of(first).astype(int) - frames_of(again)
    assert abs(difference).mean() < 1


def test_a_seed_is_drawn(framegate: RunningServer, photo: Path) -> None:
    videos = [download_linked(chat(framegate, "small", "a boat", data_uri(photo))) for _ in range(2)]
    assert videos[0] != videos[1]


def test_the_request_sets_size_and_length(framegate: RunningServer, photo: Path) -> None:
    frames = frames_of(by_lightx2v(framegate, photo, 1, width=192, height=64, target_video_length=13))
    assert frames.shape == (13, 64, 192, 3)


def test_odd_sizes_are_made_even_for_h264(framegate: RunningServer, photo: Path) -> None:
    frames = frames_of(by_lightx2v(framegate, photo, 1, width=131, height=97))
    assert all(side % 2 == 0 for side in frames.shape[1:3])


def test_comfykit_workflows_run_unchanged(framegate: RunningServer, photo: Path) -> None:
    response = chat(framegate, "kit", "a boat", data_uri(photo), seed=3)
    video = download_linked(response)
    frames = frames_of(video)
    assert len(frames) == 9
    assert difference(frames, photo) < 8
    with av.open(io.BytesIO(video), "r") as container:
        assert container.streams.video[0].average_rate == 12
    no_image = chat(framegate, "kit", "a boat")
    assert no_image.status_code == 400
    assert "needs an image" in no_image.json()["error"]["message"]


def test_an_image_from_text(framegate: RunningServer) -> None:
    def make(seed: int) -> bytes:
        body = {"model": "text_to_image", "prompt": "blue", "seed": seed}
        response = requests.post(f"{framegate.url}/v1/images/generate", json=body, timeout=60)
        assert response.status_code == 200, response.text
        content: str = response.json()["choices"][0]["message"]["content"]
        [link] = re.findall(r"http://[^'\")]+", content)
        return requests.get(link, timeout=10).content

    first, second = make(1), make(2)
    assert first != second
    with Image.open(io.BytesIO(first)) as image:
        assert (image.format, image.size) == ("PNG", (160, 96))
        assert "prompt" not in image.info
        colour = np.asarray(image.convert("RGB"), np.float64).mean(axis=(0, 1))
    assert np.abs(colour - (0x33, 0x66, 0xCC)).max() < 12


def test_no_metadata_of_comfyui_is_in_the_file(framegate: RunningServer, photo: Path) -> None:
    """ComfyUI saves the whole graph in the file, with the prompt and the names of files."""
    video = download_linked(chat(framegate, "small", "a secret word", data_uri(photo)))
    assert b"secret" not in video
    assert b"class_type" not in video


def test_the_prompt_is_removed_from_comfyui_s_history(
    framegate: RunningServer, comfyui: ComfyUIClient, photo: Path
) -> None:
    secret = "a word that nobody else says"
    download_linked(chat(framegate, "small", secret, data_uri(photo)))
    assert secret not in comfyui.get("/history").text


def test_the_documented_example(framegate: RunningServer, photo: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, "base64", photo, "a boat", "--model", "small", "--stream"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={"FRAMEGATE_URL": framegate.url, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    [saved] = tmp_path.glob("*.mp4")
    assert difference(frames_of(saved.read_bytes()), photo) < 8
