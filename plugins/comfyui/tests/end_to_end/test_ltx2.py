"""The shipped LTX-2 workflows."""

import io
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.serving import (
    chat,
    data_uri,
    difference,
    download_linked,
    frames_of,
    submit,
    task_state,
    wait_for_task,
)
from tests.support.running import RunningServer, eventually


@pytest.mark.parametrize(("model", "size"), [("ltx2_landscape", (1024, 576)), ("ltx2_portrait", (576, 1024))])
def test_the_documented_call(
    framegate: RunningServer, fake: FakeComfyUI, photo: Path, model: str, size: tuple[int, int]
) -> None:
    video = download_linked(chat(framegate, model, "a boat", data_uri(photo), seed=5))
    frames = frames_of(video)
    assert (frames.shape[2], frames.shape[1]) == size
    assert len(frames) == 121
    assert difference(frames[:1], photo) < 10
    with av.open(io.BytesIO(video), "r") as container:
        assert container.streams.video[0].average_rate == 24
        [audio] = container.streams.audio
        assert audio.duration is not None
        assert audio.time_base is not None
        assert abs(float(audio.duration * audio.time_base) - 121 / 24) < 0.2
    [*_, prompt] = fake.prompts()
    texts = [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode"]
    assert "a boat" in texts
    seeds = {node["inputs"]["noise_seed"] for node in prompt.values() if node["class_type"] == "RandomNoise"}
    assert seeds == {5}


def test_progress_is_weighted_by_the_samplers_steps(
    framegate: RunningServer, fake: FakeComfyUI, photo: Path
) -> None:
    """Before the samplers, most nodes are done but little of the work."""
    fake.hold("SamplerCustomAdvanced")
    fake.hold("VAEDecodeTiled")
    task_id = submit(framegate, "ltx2_landscape", "a boat", data_uri(photo))

    def between(least: float, most: float) -> Callable[[], bool]:
        return lambda: least < task_state(framegate, task_id)["progress"] < most

    fake.wait_until_held("SamplerCustomAdvanced")
    eventually(between(15, 45), what="a third of the progress")
    fake.release("SamplerCustomAdvanced")
    fake.wait_until_held("VAEDecodeTiled")
    eventually(between(75, 100), what="most of the progress")
    fake.release()
    assert wait_for_task(framegate, task_id)["progress"] == 100


def test_sizes_and_lengths_are_fitted(framegate: RunningServer, fake: FakeComfyUI, photo: Path) -> None:
    """The graph gets sides that are multiples of 64, and 8n+1 frames."""
    frames = frames_of(download_linked(chat(framegate, "odd_ltx2", "a boat", data_uri(photo))))
    [*_, prompt] = fake.prompts()
    [size] = [node["inputs"] for node in prompt.values() if node["class_type"] == "ImageScale"]
    [length] = [node["inputs"]["value"] for node in prompt.values() if node["class_type"] == "PrimitiveInt"]
    assert (size["width"] % 64, size["height"] % 64, length % 8) == (0, 0, 1)
    assert frames.shape == (length, size["height"], size["width"], 3)
