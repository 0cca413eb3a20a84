"""Partial pictures: ComfyUI's previews, as a client that streams gets them."""

import base64
import io
import json
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from structlog.testing import capture_logs

from framegate.core.errors import JobCancelled
from framegate.core.testing.backends import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.comfyui import previews
from framegate.plugins.comfyui.graph import read_graph
from framegate.plugins.comfyui.previews import Previews
from framegate.plugins.comfyui.progress import GraphProgress
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.serving import config
from tests.support.comfyui.workflows import STILL, write
from tests.support.running import RunningServer, eventually

from .conftest import StartComfyUI, StartServer

if TYPE_CHECKING:
    from framegate.core.backend import Frame

OURS = "e4b1b7d4-7a51-4f46-8b39-0f2f4a3ea2e4"
SHOT = Shot(
    task=Task.TEXT_TO_IMAGE,
    prompt="a boat",
    width=640,
    height=384,
    num_frames=1,
    fps=0.0,
    seed=1,
    num_inference_steps=20,
    guidance_scale=1.0,
)


def encoded(format_: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (80, 48), **how: Any) -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(made, format_, **how)
    return made.getvalue()


def named(picture: bytes, prompt_id: object = OURS) -> bytes:
    metadata = json.dumps({"node_id": "3", "prompt_id": prompt_id, "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", 4, len(metadata)) + metadata + picture


def unnamed(picture: bytes) -> bytes:
    return struct.pack(">II", 1, 1) + picture


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return RecordingContext(tmp_path)


@pytest.mark.parametrize(
    ("count", "steps", "at"),
    [
        (3, 20, [5, 10, 15]),
        (2, 20, [7, 14]),
        (1, 20, [10]),
        (3, 4, [1, 2, 3]),
        (3, 2, [1, 2]),
        (3, 1, [1]),
    ],
)
def test_they_are_spread_over_the_sampling(
    context: RecordingContext, count: int, steps: int, at: list[int]
) -> None:
    found = Previews(SHOT, count)
    shown_at: list[int] = []
    for step in range(1, steps + 1):
        found.take(named(encoded()), OURS, step / steps)
        before = len(context.partial_images)
        found.show(context)
        shown_at += [step] * (len(context.partial_images) - before)
    assert shown_at == at
    assert {frame.shape for frame in context.partial_images} == {(384, 640, 3)}


def test_two_samplers_count_as_one() -> None:
    """The second goes on from the first, as in a graph that enlarges its picture."""
    second = {**STILL["3"], "inputs": {**STILL["3"]["inputs"], "latent_image": ["3", 0], "steps": 60}}
    graph = {**STILL, "10": second, "8": {**STILL["8"], "inputs": {"samples": ["10", 0], "vae": ["4", 2]}}}
    progress = GraphProgress(read_graph(json.dumps(graph).encode()))
    told: list[float] = []
    for node in ("4", "5", "6", "7"):
        progress.take("progress_state", {"nodes": {node: {"state": "finished"}}})
        told.append(progress.sampled)
    for node, value, most in (("3", 10, 20), ("3", 20, 20), ("10", 30, 60), ("10", 60, 60)):
        progress.take("progress", {"node": node, "value": value, "max": most})
        told.append(progress.sampled)
    assert told == [0, 0, 0, 0, 0.125, 0.25, 0.625, 1]


@pytest.mark.parametrize(
    "picture",
    [encoded(), encoded("PNG"), encoded("PNG", "RGBA"), encoded("PNG", "P"), encoded("JPEG", "L")],
)
def test_pictures_of_every_kind(context: RecordingContext, picture: bytes) -> None:
    found = Previews(SHOT, 3)
    found.take(named(picture), OURS, 0.5)
    found.show(context)
    [frame] = context.partial_images
    assert frame.shape == (384, 640, 3)
    assert frame.dtype == np.uint8
    wanted = np.asarray(Image.linear_gradient("L").resize((640, 384)), float)
    assert np.abs(frame.mean(axis=2) - wanted).mean() < 4


def shown_of(context: RecordingContext, message: bytes, *, after_progress: bool = False) -> int:
    found = Previews(SHOT, 3)
    found.after_progress = after_progress
    found.take(message, OURS, 0.5)
    found.show(context)
    return len(context.partial_images)


def test_whose_they_are(context: RecordingContext) -> None:
    assert shown_of(context, named(encoded(), "another")) == 0
    assert shown_of(context, named(encoded(), None), after_progress=True) == 0
    assert shown_of(context, unnamed(encoded())) == 0
    assert shown_of(context, unnamed(encoded()), after_progress=True) == 1


def bomb() -> bytes:
    """A few bytes that say that they are a gigantic picture."""
    return encoded("PNG", "L", (previews.MAX_PIXELS // 4096 + 1, 4096), compress_level=9)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0\0\4",
        struct.pack(">II", 3, 1) + b"3some text",
        struct.pack(">II", 4, 2**32 - 1) + b"{}",
        struct.pack(">II", 4, 100_000) + b"[" * 100_000,
        struct.pack(">II", 4, 2) + b"[]" + encoded(),
        struct.pack(">II", 4, 2) + b"\xff\xff" + encoded(),
    ],
)
def test_what_is_none(context: RecordingContext, message: bytes) -> None:
    assert shown_of(context, message, after_progress=True) == 0


@pytest.mark.parametrize(
    "picture",
    [b"GIF89a", encoded()[:-200], encoded("PNG")[:60], encoded("GIF"), encoded("TIFF"), bomb()],
    ids=["no picture", "cut off", "cut off PNG", "GIF", "TIFF", "bomb"],
)
def test_what_can_t_be_shown_is_told_in_the_log(context: RecordingContext, picture: bytes) -> None:
    with capture_logs() as logs:
        assert shown_of(context, named(picture)) == 0
    assert [each["event"] for each in logs] == ["comfyui_preview"]


def test_one_that_is_too_large_is_not_kept(
    context: RecordingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "MAX_BYTES", 100)
    with capture_logs() as logs:
        assert shown_of(context, named(encoded())) == 0
    assert [each["reason"] for each in logs] == [f"it has {len(encoded())} bytes"]


def test_a_broken_one_does_not_stop_the_others(context: RecordingContext) -> None:
    found = Previews(SHOT, 3)
    for sampled, picture in ((0.25, b"broken"), (0.5, encoded()), (0.75, encoded())):
        found.take(named(picture), OURS, sampled)
    found.show(context)
    assert len(context.partial_images) == 2


@given(st.binary(max_size=200), st.sampled_from([b"", struct.pack(">I", 1), struct.pack(">I", 4)]))
def test_any_bytes_are_read_or_left(data: bytes, beginning: bytes) -> None:
    assert shown_of(RecordingContext(Path()), beginning + data, after_progress=True) in (0, 1)


class Cancelled(RecordingContext):
    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        raise JobCancelled


def test_a_cancelled_job_is_left(tmp_path: Path) -> None:
    found = Previews(SHOT, 3)
    found.take(named(encoded()), OURS, 0.5)
    with pytest.raises(JobCancelled):
        found.show(Cancelled(tmp_path))


def serving(start_server: StartServer, fake: FakeComfyUI, folder: Path) -> RunningServer:
    fake.install({"checkpoints": "still.safetensors"})
    return start_server(config=config(fake.url, workflows=write(folder / "workflows", still=STILL)))


def asked_for(server: RunningServer, partial_images: int | None, seed: int = 4) -> requests.Response:
    more = {} if partial_images is None else {"stream": True, "partial_images": partial_images}
    body = {"model": "still", "prompt": "a boat", "size": "640x384", "seed": seed, **more}
    answer = requests.post(
        f"{server.url}/v1/images/generations", json=body, timeout=60, stream=partial_images is not None
    )
    assert answer.status_code == 200, answer.text
    return answer


def events_of(answer: requests.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def pixels(event: dict[str, Any]) -> NDArray[np.float64]:
    return pixels_of(base64.b64decode(event["b64_json"]))


def pixels_of(data: bytes) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"), np.float64)


def preview_methods(fake: FakeComfyUI) -> list[str | None]:
    """What each prompt said of it."""
    return [each.body.get("extra_data", {}).get("preview_method") for each in fake.asked("/prompt", "POST")]


@pytest.mark.parametrize(
    ("features", "step"),
    [
        (None, ["progress_state", "progress", 1]),
        (previews.CLIENT_FEATURES, ["progress_state", 4, "progress"]),
    ],
)
def test_the_fake_sends_them_as_the_real_one_does(
    start_comfyui: StartComfyUI, features: dict[str, bool] | None, step: list[str | int]
) -> None:
    """ComfyUI 0.3.64 with ``--preview-method latent2rgb``, at a sampler of two steps."""
    fake = start_comfyui(preview_method="latent2rgb")
    fake.install({"checkpoints": "still.safetensors"})
    graph = {**STILL, "3": {**STILL["3"], "inputs": {**STILL["3"]["inputs"], "steps": 2}}}
    told = anyio.run(ComfyUIClient(fake.url).watch, graph, features)
    kinds = [each[3] if isinstance(each, bytes) else each["type"] for each in told]
    begun = kinds.index("progress")
    while kinds[begun - 1] != "executing":
        begun -= 1
    assert kinds[begun : begun + 6] == step * 2
    pictures = [each for each in told if isinstance(each, bytes)]
    for each in pictures:
        start = 8 if features is None else 8 + int.from_bytes(each[4:8], "big")
        with Image.open(io.BytesIO(each[start:])) as picture:
            assert (picture.format, picture.size) == ("JPEG", (512, 512))  # enlarged, if need be


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, "auto"),
        ({"preview_method": "taesd"}, None),
        ({"older": True, "preview_method": "auto"}, None),
    ],
    ids=["asked for", "started with it", "older, started with it"],
)
def test_a_client_gets_them(
    start_comfyui: StartComfyUI,
    start_server: StartServer,
    tmp_path: Path,
    options: dict[str, Any],
    asked: str | None,
) -> None:
    fake = start_comfyui(**options)
    framegate = serving(start_server, fake, tmp_path)
    fake.hold("KSampler")
    fake.hold("SaveImage")
    events = events_of(asked_for(framegate, 2))
    fake.wait_until_followed()
    fake.release("KSampler")
    first, second = next(events), next(events)
    assert fake.wait_until_held("SaveImage"), "they come before the picture is finished"
    fake.release()
    [last] = events
    assert preview_methods(fake) == [asked]
    assert [event["type"] for event in (first, second, last)] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [event["partial_image_index"] for event in (first, second)] == [0, 1]
    assert {event["size"] for event in (first, second, last)} == {"640x384"}
    far, near, finished = (pixels(event) for event in (first, second, last))
    assert far.shape == near.shape == finished.shape == (384, 640, 3)
    # What is shown on the way gets nearer to it.
    assert np.abs(far - finished).mean() > np.abs(near - finished).mean() + 5


def test_a_server_that_sends_none(
    start_comfyui: StartComfyUI, start_server: StartServer, tmp_path: Path
) -> None:
    """Its operator wants it so."""
    fake = start_comfyui(preview_method="none")
    events = events_of(asked_for(serving(start_server, fake, tmp_path), 2))
    assert [event["type"] for event in events] == ["image_generation.completed"]
    assert preview_methods(fake) == [None]


def test_they_are_asked_for_only_if_somebody_wants_them(
    fake: FakeComfyUI, start_server: StartServer, tmp_path: Path
) -> None:
    framegate = serving(start_server, fake, tmp_path)
    for partial_images in (None, 0):
        assert b"b64_json" in asked_for(framegate, partial_images).content
    assert preview_methods(fake) == [None, None]
    assert all("extra_data" not in each.body for each in fake.asked("/prompt", "POST"))


def test_others_previews_are_not_ours(
    start_comfyui: StartComfyUI, start_server: StartServer, tmp_path: Path
) -> None:
    """ComfyUI sends those of prompts without a client to all that listen."""
    fake = start_comfyui(older=True, preview_method="auto")
    framegate = serving(start_server, fake, tmp_path)
    fake.hold("KSampler")
    client = ComfyUIClient(fake.url)
    other = client.submit(STILL, client_id=None)
    fake.wait_until_held("KSampler")
    got: list[dict[str, Any]] = []
    calling = threading.Thread(target=lambda: got.extend(events_of(asked_for(framegate, 3, seed=9))))
    calling.start()
    eventually(lambda: len(fake.asked("/prompt", "POST")) == 2, what="our prompt")
    fake.wait_until_followed()
    fake.hold("SaveImage")
    fake.release("KSampler")
    assert fake.wait_until_held("SaveImage").prompt_id == other
    fake.release()
    calling.join()
    *partial, last = got
    assert last["type"] == "image_generation.completed"
    assert len(partial) == 3
    [theirs] = client.entry(other)["outputs"]["9"]["images"]
    ours, foreign = pixels(last), pixels_of(client.file(theirs).content)
    for event in partial:
        colour = pixels(event).mean(axis=(0, 1))
        off, far_off = (np.abs(colour - each.mean(axis=(0, 1))).sum() for each in (ours, foreign))
        assert off < far_off
