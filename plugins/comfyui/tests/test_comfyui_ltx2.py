"""The two LTX-2 workflows that the plugin brings along."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
import requests

from framegate.plugins.comfyui.workflows.capabilities import spec_of
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.workflow import parse_workflow
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import LTX2_FILES, FakeComfyUI
from tests.support.comfyui.graphs import noisy_video
from tests.support.comfyui.serving import (
    ask,
    config,
    data_uri,
    differs,
    ended,
    frames_of,
    linked,
    refusal,
    state,
    submit,
)
from tests.support.running import RunningServer, eventually

from .conftest import REAL_URL, StartServer


def test_what_a_server_without_the_models_says(
    comfyui: ComfyUIClient, framegate: RunningServer, photo: Path
) -> None:
    """All of the graph is right but for the files, and the answer names just these."""
    if not comfyui.has_node("LTXVAudioVAELoader"):
        pytest.skip("this ComfyUI is older than LTX-2")
    for model in ("ltx2_landscape", "ltx2_portrait"):
        told = refusal(ask(framegate, model, "a boat", data_uri(photo)))
        assert told.startswith("ComfyUI lacks 4 model files")
        named = {file for file in LTX2_FILES.values() if file in told}
        assert named == set(LTX2_FILES.values())
        assert told.count(".safetensors") == 4
        assert "(CheckpointLoaderSimple)" in told


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeComfyUI]:
    """A ComfyUI that has the models."""
    if REAL_URL:
        pytest.skip("the real one has no models")
    fake = FakeComfyUI(tmp_path_factory.mktemp("ltx2"))
    fake.install(LTX2_FILES)
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def serving(equipped: FakeComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    presets = '[presets]\nlightx2v = { video = "ltx2_landscape" }\n'
    server = RunningServer(
        tmp_path_factory.mktemp("framegate") / "data", config=config(equipped.url, more=presets)
    )
    yield server.wait_until_ready()
    assert server.stop() == 0, server.log_text()


@pytest.mark.parametrize(("model", "size"), [("ltx2_landscape", (1024, 576)), ("ltx2_portrait", (576, 1024))])
def test_the_document_s_call(
    serving: RunningServer, equipped: FakeComfyUI, photo: Path, model: str, size: tuple[int, int]
) -> None:
    video = linked(ask(serving, model, "a boat", data_uri(photo), seed=5))
    frames = frames_of(video)
    assert (frames.shape[2], frames.shape[1]) == size
    assert len(frames) == 121
    assert differs(frames[:1], photo) < 10
    with av.open(io.BytesIO(video), "r") as container:
        assert container.streams.video[0].average_rate == 24
        [sound] = container.streams.audio
        assert sound.duration is not None
        assert sound.time_base is not None
        assert abs(float(sound.duration * sound.time_base) - 121 / 24) < 0.2
    [*_, prompt] = equipped.prompts()
    texts = [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode"]
    assert "a boat" in texts
    seeds = {node["inputs"]["noise_seed"] for node in prompt.values() if node["class_type"] == "RandomNoise"}
    assert seeds == {5}


def lightx2v(server: RunningServer, photo: Path, **fields: object) -> requests.Response:
    body = {"prompt": "a boat", "image_path": data_uri(photo), **fields}
    return requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=30)


def test_sizes_and_lengths_that_ltx2_makes(
    serving: RunningServer, equipped: FakeComfyUI, photo: Path
) -> None:
    """Whatever is asked for, the graph is told sides that are multiples of 64 and 8n+1 frames."""
    answer = lightx2v(serving, photo, width=300, height=200, target_video_length=20, target_fps=24)
    assert answer.status_code == 200, answer.text
    url = f"{serving.url}/v1/tasks/{answer.json()['task_id']}"
    eventually(lambda: requests.get(f"{url}/status", timeout=10).json()["end_time"], what="the end")
    frames = frames_of(requests.get(f"{url}/result", timeout=10).content)
    [*_, prompt] = equipped.prompts()
    [size] = [node["inputs"] for node in prompt.values() if node["class_type"] == "ImageScale"]
    [length] = [node["inputs"]["value"] for node in prompt.values() if node["class_type"] == "PrimitiveInt"]
    assert (size["width"] % 64, size["height"] % 64, length % 8) == (0, 0, 1)
    assert frames.shape == (length, size["height"], size["width"], 3)


def test_progress_is_weighted_by_the_samplers_steps(
    serving: RunningServer, equipped: FakeComfyUI, photo: Path
) -> None:
    """Before the samplers most nodes are done, and little of the work."""
    equipped.hold("SamplerCustomAdvanced")
    equipped.hold("VAEDecodeTiled")
    task_id = submit(serving, "ltx2_landscape", "a boat", data_uri(photo))

    def between(least: float, most: float) -> Callable[[], bool]:
        return lambda: least < state(serving, task_id)["progress"] < most

    equipped.wait_until_held("SamplerCustomAdvanced")
    eventually(between(15, 45), what="a third of the progress")
    equipped.release("SamplerCustomAdvanced")
    equipped.wait_until_held("VAEDecodeTiled")
    eventually(between(75, 100), what="most of the progress")
    equipped.release()
    assert ended(serving, task_id)["progress"] == 100


def test_a_server_that_lacks_the_models_is_passed_over(
    equipped: FakeComfyUI,
    comfyui: ComfyUIClient,
    start_server: StartServer,
    photo: Path,
) -> None:
    server = start_server(config=config(comfyui.url, equipped.url))
    busy = ComfyUIClient(equipped.url)
    busy.upload(photo, name="foreign.jpg")
    equipped.hold("CreateVideo")
    busy.submit(noisy_video("foreign.jpg"), "somebody")
    equipped.wait_until_held()
    before = len(equipped.prompts())
    task_id = submit(server, "ltx2_landscape", "a boat", data_uri(photo))
    eventually(lambda: len(equipped.prompts()) > before, what="the prompt")
    equipped.release()
    assert ended(server, task_id)["status"] == "completed"


def test_sizes_that_a_file_gets_wrong() -> None:
    """LTX-2's rules are checked before anything runs."""
    shipped = (
        Path(__file__).parents[1] / "src/framegate/plugins/comfyui/workflows/shipped/ltx2_landscape.json"
    )
    graph = json.loads(shipped.read_text())
    for node in graph.values():
        if node["class_type"] == "ImageScale":
            node["_meta"]["title"] = "Size"
            node["inputs"]["width"] = 1000
    with pytest.raises(WorkflowFault, match="1000×576 is wrong") as fault:
        spec_of(parse_workflow("wrong", json.dumps(graph).encode()))
    assert "1024×576 would fit" in fault.value.reason
