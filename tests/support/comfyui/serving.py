"""Framegate in front of a ComfyUI: configs, calls, and what comes out."""

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.support.comfyui.backend_jobs import BackendJob
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.graphs import noisy_video
from tests.support.running import RunningServer, eventually

REAL_URL = os.environ.get("COMFYUI_URL", "").rstrip("/")
"""A real ComfyUI to test against instead of the fake."""

FOREIGN_CLIENT = "somebody-else"

StartComfyUI = Callable[..., FakeComfyUI]
StartJob = Callable[..., BackendJob]

SMALL = """
[aliases.small]
model = "weight_free"
defaults = { width = 128, height = 96, num_frames = 9 }
"""


def config(*urls: str, workflows: Path | None = None, token: str = "", more: str = "", **options: str) -> str:
    """Return a framegate.toml.

    ``token`` names an environment variable, ``options`` are TOML values for the plugin's table, ``more`` is
    further text.
    """
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


def chat_body(model: str, text: str, image: str = "", **fields: object) -> dict[str, Any]:
    """Return the body of a chat completion of the openai-chat dialect."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if image:
        content.append({"type": "image_url", "image_url": {"url": image}})
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


def chat(
    server: RunningServer, model: str, text: str, image: str = "", **fields: object
) -> requests.Response:
    """Request a chat completion of the openai-chat dialect."""
    body = chat_body(model, text, image, **fields)
    return requests.post(f"{server.url}/v1/chat/completions", json=body, timeout=120)


def download_linked(response: requests.Response) -> bytes:
    """Download the file that a chat completion links to."""
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return requests.get(content.rpartition("Generated Video URL: ")[2], timeout=30).content


def failure_message(response: requests.Response) -> str:
    """Return why a job failed."""
    assert response.status_code == 500, response.text
    message: str = response.json()["error"]["message"]
    return message


def submit(server: RunningServer, model: str, text: str, image: str = "", **fields: object) -> str:
    """Submit a task of the sora2api dialect, which runs in the background."""
    path = "videos/transform" if image else "videos/generate"
    body = {"model": model, "prompt": text, "async_mode": True, **fields}
    if image:
        body["image"] = image
    response = requests.post(f"{server.url}/v1/{path}", json=body, timeout=30)
    assert response.status_code == 200, response.text
    task_id: str = response.json()["task_id"]
    return task_id


def task_state(server: RunningServer, task_id: str) -> dict[str, Any]:
    response = requests.get(f"{server.url}/v1/tasks/{task_id}", timeout=10)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def wait_for_task(server: RunningServer, task_id: str, seconds: float = 90) -> dict[str, Any]:
    """Return a task's state once it has ended."""

    def ended() -> dict[str, Any] | None:
        state = task_state(server, task_id)
        return None if state["status"] == "processing" else state

    return eventually(ended, seconds=seconds, what=f"the end of {task_id}")


def cancel(server: RunningServer, task_id: str) -> None:
    done = server.run("jobs", "cancel", task_id.removeprefix("task_"))
    assert done.returncode == 0, done.stderr


def show_job(server: RunningServer, task_id: str) -> dict[str, Any]:
    """Return a task's job, as the operator sees it."""
    job: dict[str, Any] = server.json("jobs", "show", task_id.removeprefix("task_"))
    return job


def readiness(server: RunningServer) -> tuple[str, str]:
    """Return the status that ``/status`` gives, and all its problems."""
    body: dict[str, Any] = requests.get(f"{server.url}/status", timeout=10).json()
    return body["status"], "; ".join(body["problems"])


def frames_of(data: bytes) -> NDArray[np.uint8]:
    """Decode a video to frames × height × width × RGB."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.uint8)


def difference(frames: NDArray[np.uint8], image: Path | Image.Image) -> float:
    """Return how far the mean of ``frames`` is from the centre of an image, 0…255."""
    size = frames.shape[2], frames.shape[1]
    with Image.open(image) if isinstance(image, Path) else image as opened:
        cropped = ImageOps.fit(ImageOps.exif_transpose(opened).convert("RGB"), size, Image.Resampling.LANCZOS)
    mean: NDArray[np.float64] = frames.mean(axis=0)
    return float(np.abs(mean - np.asarray(cropped, np.float64)).mean())


def mirrored(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return ImageOps.mirror(image)


def submit_foreign_prompts(client: ComfyUIClient, photo: Path, count: int) -> list[str]:
    """Submit prompts that are not Framegate's, and return their ids."""
    client.upload(photo, name="foreign.jpg")
    return [client.submit(noisy_video("foreign.jpg", seed=seed), FOREIGN_CLIENT) for seed in range(count)]
