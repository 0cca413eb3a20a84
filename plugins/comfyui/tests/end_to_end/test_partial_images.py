"""Partial images: ComfyUI's previews, as a streaming client gets them."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.running import RunningServer


def request_image(server: RunningServer, partial_images: int | None, *, seed: int) -> requests.Response:
    streaming = {} if partial_images is None else {"stream": True, "partial_images": partial_images}
    body = {"model": "still", "prompt": "a boat", "size": "640x384", "seed": seed, **streaming}
    response = requests.post(
        f"{server.url}/v1/images/generations", json=body, timeout=60, stream=partial_images is not None
    )
    assert response.status_code == 200, response.text
    return response


def events_of(response: requests.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def pixels(event: dict[str, Any]) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(base64.b64decode(event["b64_json"]))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.float64)


def test_a_client_gets_previews(framegate: RunningServer, fake: FakeComfyUI) -> None:
    fake.hold("KSampler")
    fake.hold("SaveImage")
    events = events_of(request_image(framegate, 2, seed=4))
    fake.wait_until_followed()
    fake.release("KSampler")
    first, second = next(events), next(events)
    assert fake.wait_until_held("SaveImage"), "they come before the image is finished"
    fake.release()
    [last] = events
    [*_, submitted] = fake.requests("/prompt", "POST")
    assert submitted.body["extra_data"] == {"preview_method": "auto"}
    assert [event["type"] for event in (first, second, last)] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [event["partial_image_index"] for event in (first, second)] == [0, 1]
    assert {event["size"] for event in (first, second, last)} == {"640x384"}
    early, late, finished = (pixels(event) for event in (first, second, last))
    assert early.shape == late.shape == finished.shape == (384, 640, 3)
    # Each is closer to the finished image than the one before.
    assert np.abs(early - finished).mean() > np.abs(late - finished).mean() + 5


def test_previews_are_requested_only_for_clients_that_want_them(
    framegate: RunningServer, fake: FakeComfyUI
) -> None:
    before = len(fake.requests("/prompt", "POST"))
    for seed, partial_images in enumerate((None, 0), 5):
        assert b"b64_json" in request_image(framegate, partial_images, seed=seed).content
    submitted = fake.requests("/prompt", "POST")[before:]
    assert len(submitted) == 2
    assert all("extra_data" not in each.body for each in submitted)
