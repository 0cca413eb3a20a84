"""Partial images from servers of several versions, started in several ways."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from tests.support.comfyui.backend_jobs import IMAGE_SHOT, BackendJob
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.serving import REAL_URL, StartComfyUI, StartJob
from tests.support.comfyui.workflows import SAMPLED_IMAGE, STILL_CHECKPOINT, write
from tests.support.running import eventually


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("workflows"), still=SAMPLED_IMAGE))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeComfyUI]:
    """A ComfyUI 0.3.40 that makes previews, because it was started to make them."""
    if REAL_URL:
        pytest.skip("the test needs a fake of another version")
    fake = FakeComfyUI(tmp_path_factory.mktemp("older"), older=True, preview_method="auto")
    fake.install(STILL_CHECKPOINT)
    yield fake
    fake.stop()


def start(start_job: StartJob, fake: FakeComfyUI, workflows: str, *, count: int, seed: int) -> BackendJob:
    return start_job(
        fake,
        workflow="still",
        shot=replace(IMAGE_SHOT, seed=seed),
        workflows=workflows,
        inputs={"num_partial_images": count},
    )


def pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def preview_methods(fake: FakeComfyUI) -> list[str | None]:
    """Return the preview method that each prompt asked for."""
    submitted = fake.requests("/prompt", "POST")
    return [each.body.get("extra_data", {}).get("preview_method") for each in submitted]


@pytest.mark.parametrize(("method", "count"), [("taesd", 2), ("none", 0)])
def test_a_server_started_with_a_method_of_its_own(
    start_comfyui: StartComfyUI, start_job: StartJob, workflows: str, method: str, count: int
) -> None:
    fake = start_comfyui(preview_method=method)
    fake.install(STILL_CHECKPOINT)
    fake.hold("KSampler")
    job = start(start_job, fake, workflows, count=2, seed=4)
    fake.wait_until_followed()
    fake.release()
    job.result()
    assert len(job.context.partial_images) == count
    assert preview_methods(fake) == [None]


def test_an_older_server(older: FakeComfyUI, start_job: StartJob, workflows: str) -> None:
    older.hold("KSampler")
    job = start(start_job, older, workflows, count=2, seed=4)
    older.wait_until_followed()
    older.release()
    [file] = job.result()
    early, late = (frame.astype(np.float64) for frame in job.context.partial_images)
    finished = pixels(file.path)
    assert early.shape == late.shape == finished.shape == (384, 640, 3)
    assert np.abs(early - finished).mean() > np.abs(late - finished).mean() + 5
    assert preview_methods(older) == [None]


def test_previews_of_other_prompts_are_ignored(
    older: FakeComfyUI, start_job: StartJob, workflows: str, tmp_path: Path
) -> None:
    """ComfyUI sends previews of prompts without a client to all clients."""
    older.hold("KSampler")
    client = ComfyUIClient(older.url)
    foreign_prompt = client.submit(SAMPLED_IMAGE, client_id=None)
    older.wait_until_held("KSampler")
    before = len(older.requests("/prompt", "POST"))
    job = start(start_job, older, workflows, count=3, seed=9)
    eventually(lambda: len(older.requests("/prompt", "POST")) > before, what="our prompt")
    older.wait_until_followed()
    older.hold("SaveImage")
    older.release("KSampler")
    assert older.wait_until_held("SaveImage").prompt_id == foreign_prompt
    older.release()
    [file] = job.result()
    assert len(job.context.partial_images) == 3
    [stored] = client.entry(foreign_prompt)["outputs"]["9"]["images"]
    foreign_file = tmp_path / "foreign.png"
    foreign_file.write_bytes(client.file(stored).content)
    own, foreign = (pixels(path).mean(axis=(0, 1)) for path in (file.path, foreign_file))
    shown: list[Any] = [frame.mean(axis=(0, 1)) for frame in job.context.partial_images]
    for colour in shown:
        assert np.abs(colour - own).sum() < np.abs(colour - foreign).sum()
