"""Framegate before a ComfyUI: configs, calls, and what comes out."""

import base64
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.support.running import RunningServer, eventually

SMALL = """
[aliases.small]
model = "weight_free"
defaults = { width = 128, height = 96, num_frames = 9 }
"""


def config(*urls: str, workflows: Path | None = None, token: str = "", more: str = "", **options: str) -> str:
    """A framegate.toml. ``token`` names a variable, ``options`` go into the plugin's table as they are,
    ``more`` is further text."""
    lines = ['[fetch]\nallow = ["127.0.0.1"]\n', "[plugins.comfyui]"]
    if workflows is not None:
        lines.append(f'workflows = "{workflows}"')
    lines += [f"{name} = {value}" for name, value in options.items()]
    for url in urls:
        lines += ["[[plugins.comfyui.servers]]", f'url = "{url}"']
        if token:
            lines.append(f'token = {{ env = "{token}" }}')
    return "\n".join((*lines, SMALL, more))


def data_uri(file: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"


def ask(
    server: RunningServer, model: str, text: str, image: str = "", *, timeout: float = 120, **fields: object
) -> requests.Response:
    """The call of the openai-chat document."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if image:
        content.append({"type": "image_url", "image_url": {"url": image}})
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return requests.post(f"{server.url}/v1/chat/completions", json=body, timeout=timeout)


def linked(answer: requests.Response) -> bytes:
    """The file that an answer of openai-chat links to."""
    assert answer.status_code == 200, answer.text
    content: str = answer.json()["choices"][0]["message"]["content"]
    return requests.get(content.rpartition("Generated Video URL: ")[2], timeout=30).content


def refusal(answer: requests.Response) -> str:
    """Why a job failed."""
    assert answer.status_code == 500, answer.text
    message: str = answer.json()["error"]["message"]
    return message


def submit(server: RunningServer, model: str, text: str, image: str = "", **fields: object) -> str:
    """A task of sora2api, which goes on by itself."""
    path = "videos/transform" if image else "videos/generate"
    body = {"model": model, "prompt": text, "async_mode": True, **fields}
    if image:
        body["image"] = image
    answer = requests.post(f"{server.url}/v1/{path}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def state(server: RunningServer, task_id: str) -> dict[str, Any]:
    answer = requests.get(f"{server.url}/v1/tasks/{task_id}", timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ended(server: RunningServer, task_id: str, seconds: float = 90) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = state(server, task_id)
        return None if now["status"] == "processing" else now

    return eventually(look, seconds=seconds, what=f"the end of {task_id}")


def cancel(server: RunningServer, task_id: str) -> None:
    done = server.run("jobs", "cancel", task_id.removeprefix("task_"))
    assert done.returncode == 0, done.stderr


def job(server: RunningServer, task_id: str) -> dict[str, Any]:
    """A task's job, as the operator sees it."""
    shown: dict[str, Any] = server.json("jobs", "show", task_id.removeprefix("task_"))
    return shown


def ready(server: RunningServer) -> tuple[str, str]:
    """What ``/ready`` says: its status, and all problems."""
    answer: dict[str, Any] = requests.get(f"{server.url}/ready", timeout=10).json()
    return answer["status"], "; ".join(answer["problems"])


def frames_of(data: bytes) -> NDArray[np.uint8]:
    """Frames × height × width × RGB."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.uint8)


def differs(frames: NDArray[np.uint8], picture: Path | Image.Image) -> float:
    """How far the mean of ``frames`` is from the middle of a picture, 0 … 255."""
    size = frames.shape[2], frames.shape[1]
    with Image.open(picture) if isinstance(picture, Path) else picture as opened:
        cut = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), size, Image.Resampling.LANCZOS)
    mean: NDArray[np.float64] = frames.mean(axis=0)
    return float(np.abs(mean - np.asarray(cut, np.float64)).mean())


def mirrored(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return ImageOps.mirror(picture)
