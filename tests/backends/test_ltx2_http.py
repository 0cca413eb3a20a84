"""Tiny LTX-2 and image models behind a real server, through the dialects that use them."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from openai import OpenAI
from PIL import Image

from tests.support.decoding import decoded
from tests.support.event_stream import Told
from tests.support.running import RunningServer
from tests.support.tiny_models import TinyModel, tiny_model

__all__ = ["tiny_model"]

CONFIG = """
[models.ltx2]
source = "{ltx2}"

# The preset without its LoRA, which a test can't download.
[models.quick]
backend = "ltx2"
source = "{distilled}"
preset = "distilled-8step"
options = {{ loras = [] }}

[models.painter]
backend = "diffusers-image"
source = "{sdxl}"
defaults = {{ num_inference_steps = 4 }}

[presets]
openai-chat = {{ video = "quick" }}
lightx2v = {{ image = "painter" }}
sora2api = {{ image = "painter" }}

[aliases.landscape]
model = "ltx2_landscape"
defaults = {{ num_frames = 9 }}

[aliases.portrait]
model = "ltx2_portrait"
defaults = {{ num_frames = 9 }}

[aliases.full]
model = "ltx2"
defaults = {{ width = 96, height = 64, num_frames = 9, num_inference_steps = 20 }}
"""


@pytest.fixture(scope="module")
def ltx2(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Iterator[RunningServer]:
    config = CONFIG.format(
        ltx2=tiny_model("ltx2"), distilled=tiny_model("ltx2_distilled"), sdxl=tiny_model("sdxl")
    )
    running = RunningServer(
        tmp_path_factory.mktemp("ltx2") / "data",
        config=config,
        environ={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        yield running.wait_until_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_text()


def chat(model: str, image: Path | None = None, **fields: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": "a boat on a lake"}]
    if image is not None:
        url = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {"model": model, "messages": [{"role": "user", "content": content}], "seed": 7, **fields}


def answered(server: RunningServer, body: dict[str, Any]) -> bytes:
    answer = requests.post(f"{server.url}/v1/chat/completions", json=body, timeout=170)
    assert answer.status_code == 200, answer.text
    content = answer.json()["choices"][0]["message"]["content"]
    return requests.get(content.rpartition("Generated Video URL: ")[2], timeout=10).content


def audio_of(video: bytes) -> tuple[str, int, float]:
    """Codec, channels and seconds of its audio."""
    with av.open(io.BytesIO(video), "r") as container:
        (track,) = container.streams.audio
        samples = sum(frame.samples for frame in container.decode(track))
        return (
            track.codec_context.name,
            track.codec_context.channels,
            samples / track.codec_context.sample_rate,
        )


@pytest.mark.parametrize(("model", "size"), [("landscape", (1024, 576)), ("portrait", (576, 1024))])
def test_chat_in_both_shapes_with_audio(
    ltx2: RunningServer, photo: Path, model: str, size: tuple[int, int]
) -> None:
    video = answered(ltx2, chat(model, photo))
    assert decoded(video) == (*size, 9, 24.0)
    codec, channels, seconds = audio_of(video)
    assert (codec, channels) == ("aac", 2)
    assert seconds == pytest.approx(9 / 24, abs=0.1)


def test_chat_uses_seed_and_image(ltx2: RunningServer, photo: Path, tmp_path: Path) -> None:
    red = tmp_path / "red.png"
    Image.new("RGB", (60, 80), "red").save(red)
    first = answered(ltx2, chat("full"))
    assert decoded(first) == (96, 64, 9, 24.0)
    assert answered(ltx2, chat("full")) == first
    others = [
        answered(ltx2, chat("full", seed=8)),
        answered(ltx2, chat("full", photo)),
        answered(ltx2, chat("full", red)),
    ]
    assert len({first, *others}) == 4


def test_chat_reports_the_steps(ltx2: RunningServer) -> None:
    told = Told(
        requests.post(
            f"{ltx2.url}/v1/chat/completions",
            json=chat("full", stream=True),
            stream=True,
            timeout=170,
        )
    )
    assert told.content.startswith("Successfully generated video")
    # Steps this short are too many to report each.
    assert re.search(r"\d+% \((encoding the prompt|step \d+ of 20|decoding)\)", told.progress)


def image_from(server: RunningServer, **fields: Any) -> NDArray[np.uint8]:
    body = {"prompt": "a boat on a lake", "seed": 7, **fields}
    answer = requests.post(f"{server.url}/v1/tasks/image/sync?timeout_seconds=150", json=body, timeout=170)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


def test_images_from_text_and_from_an_image(ltx2: RunningServer, photo: Path) -> None:
    small = {"target_shape": [64, 96]}
    first = image_from(ltx2, **small)
    assert first.shape == (64, 96, 3)
    assert np.array_equal(first, image_from(ltx2, **small))
    assert not np.array_equal(first, image_from(ltx2, **{**small, "seed": 8}))
    source = base64.b64encode(photo.read_bytes()).decode()
    assert not np.array_equal(first, image_from(ltx2, **small, image_path=source))


def test_images_from_a_chat(ltx2: RunningServer) -> None:
    body = {**chat("gpt-image-landscape"), "stream": False}
    answer = requests.post(f"{ltx2.url}/v1/chat/completions", json=body, timeout=170)
    assert answer.status_code == 200, answer.text
    content = answer.json()["choices"][0]["message"]["content"]
    link = content.partition("](")[2].partition(")")[0] or content.partition('src="')[2].partition('"')[0]
    image = Image.open(io.BytesIO(requests.get(link, timeout=10).content))
    assert image.size == (528, 352)  # 540×360, on the grid of such models


@pytest.mark.parametrize("partial_images", [0, 2])
def test_partial_images_come_before_the_image(ltx2: RunningServer, partial_images: int) -> None:
    size: Any = "96x64"
    with (
        OpenAI(base_url=f"{ltx2.url}/v1", api_key="x", max_retries=0, timeout=170) as client,
        client.images.generate(
            model="painter",
            prompt="a boat on a lake",
            size=size,
            stream=True,
            partial_images=partial_images,
            extra_body={"seed": 7, "num_inference_steps": 8},
        ) as stream,
    ):
        events = [(event.type, base64.b64decode(event.b64_json)) for event in stream]
    kinds, images = (
        [kind for kind, _ in events],
        [np.asarray(Image.open(io.BytesIO(data))) for _, data in events],
    )
    assert kinds == ["image_generation.partial_image"] * partial_images + ["image_generation.completed"]
    assert {image.shape for image in images} == {(64, 96, 3)}
    left = [np.abs(image.astype(float) - images[-1]).mean() for image in images]
    assert left == sorted(set(left), reverse=True)
