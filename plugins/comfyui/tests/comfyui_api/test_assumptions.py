"""What the plugin assumes of ComfyUI, checked on the fake or on the server at COMFYUI_URL."""

import hashlib
import io
import json
import uuid
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.graphs import Graph, node, noisy_video, with_inputs, without


@pytest.fixture(scope="module")
def image(comfyui: ComfyUIClient, photo: Path) -> str:
    stored = comfyui.upload(photo, name="photo.jpg", subfolder="framegate-tests")
    return f"{stored['subfolder']}/{stored['name']}"


def new_seed() -> int:
    return uuid.uuid4().int % 2**64


def bare(graph: Graph) -> dict[str, Any]:
    """Older versions record in a graph which files have changed."""
    return {node_id: (each["class_type"], each["inputs"]) for node_id, each in graph.items()}


def errors_in(response: Any) -> list[tuple[str, str]]:
    """Node and type of each error."""
    found = response.json()["node_errors"]
    return [(node_id, error["type"]) for node_id, each in found.items() for error in each["errors"]]


def test_a_video_comes_out(comfyui: ComfyUIClient, image: str) -> None:
    graph = noisy_video(image, seed=new_seed())
    entry = comfyui.run(graph)
    assert entry["status"]["completed"] is True
    [stored] = entry["outputs"]["6"]["images"]
    assert entry["outputs"]["6"]["animated"] == [True]
    response = comfyui.file(stored)
    assert response.headers["Content-Type"] == "video/mp4"
    part = comfyui.file(stored, Range="bytes=4-7")
    assert (part.status_code, part.content) == (206, b"ftyp")
    with av.open(io.BytesIO(response.content), "r") as container:
        assert bare(json.loads(container.metadata["prompt"])) == bare(graph)
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    assert (len(frames), frames[0].width, frames[0].height) == (9, 128, 96)


def test_the_same_again_is_cached(comfyui: ComfyUIClient, image: str) -> None:
    graph = noisy_video(image, seed=new_seed())
    first, again, other = (
        comfyui.run(each)["outputs"]["6"]["images"][0]["filename"]
        for each in (graph, graph, noisy_video(image, seed=new_seed()))
    )
    assert first == again != other


def test_without_a_client_id_what_is_cached_is_missing(comfyui: ComfyUIClient, image: str) -> None:
    graph = noisy_video(image, seed=new_seed())
    assert set(comfyui.run(graph)["outputs"]) == {"6", "8"}
    assert set(comfyui.run(graph)["outputs"]) == {"6", "8"}
    if comfyui.get("/system_stats").json()["system"]["comfyui_version"].startswith("0.3."):
        pytest.skip("older versions list them nevertheless")
    assert comfyui.run(graph, client_id=None)["outputs"] == {}


def test_an_output_that_fails_is_left_out(comfyui: ComfyUIClient, image: str) -> None:
    graph = with_inputs(noisy_video(image), "2", upscale_method="magic")
    response = comfyui.post("/prompt", {"prompt": graph, "client_id": "tests"})
    assert response.status_code == 200
    assert errors_in(response) == [("2", "value_not_in_list")]
    assert response.json()["node_errors"]["2"]["dependent_outputs"] == ["6"]
    assert set(comfyui.entry(response.json()["prompt_id"])["outputs"]) == {"8"}


@pytest.mark.parametrize(
    ("node_id", "inputs", "error"),
    [
        ("4", {"seed": -1}, "value_smaller_than_min"),
        ("4", {"seed": 2**64}, "value_bigger_than_max"),
        ("4", {"seed": "many"}, "invalid_input_type"),
        ("2", {"upscale_method": "magic"}, "value_not_in_list"),
        ("1", {"image": "none.png"}, "custom_validation_failed"),
        ("2", {"image": ["1"]}, "bad_linked_input"),
        ("4", {"image": ["5", 0]}, "return_type_mismatch"),
        ("5", {"fps": ["8", 0]}, "exception_during_validation"),
    ],
)
def test_values_that_a_node_rejects(
    comfyui: ComfyUIClient, image: str, node_id: str, inputs: dict[str, object], error: str
) -> None:
    graph = without(with_inputs(noisy_video(image), node_id, **inputs), "7")
    if error != "exception_during_validation":
        graph = without(graph, "8")
    response = comfyui.post("/prompt", {"prompt": graph})
    assert response.status_code == 400
    body = response.json()
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    if error == "exception_during_validation":
        assert {kind for _, kind in errors_in(response)} <= {error, "exception_during_inner_validation"}
    else:
        assert errors_in(response) == [(node_id, error)]
        assert body["node_errors"][node_id]["dependent_outputs"] == ["6"]
        [error_entry] = body["node_errors"][node_id]["errors"]
        assert error_entry["extra_info"]["input_name"] in inputs


def test_a_missing_input(comfyui: ComfyUIClient, image: str) -> None:
    graph = without(noisy_video(image), "7", "8")
    del graph["4"]["inputs"]["seed"]
    response = comfyui.post("/prompt", {"prompt": graph})
    assert errors_in(response) == [("4", "required_input_missing")]


def test_numbers_may_be_strings(comfyui: ComfyUIClient, image: str) -> None:
    seed = new_seed()
    entry = comfyui.run(with_inputs(noisy_video(image), "4", seed=str(seed)))
    assert entry["prompt"][2]["4"]["inputs"]["seed"] == seed


def test_a_loader_accepts_any_path(comfyui: ComfyUIClient) -> None:
    """So the name of a client's file must never reach a node."""
    graph = without(noisy_video("../../../../../../../../etc/hostname"), "8")
    response = comfyui.post("/prompt", {"prompt": graph})
    assert response.status_code == 200
    entry = comfyui.entry(response.json()["prompt_id"])
    assert entry["status"]["messages"][-1][0] == "execution_error"


def test_odd_sizes_fail(comfyui: ComfyUIClient, image: str) -> None:
    entry = comfyui.run(noisy_video(image, width=127, height=95))
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    event, data = entry["status"]["messages"][-1]
    assert (event, data["node_id"], data["node_type"]) == ("execution_error", "6", "SaveVideo")
    assert "libx264" in data["exception_message"]


def test_uploads(comfyui: ComfyUIClient, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "photo.jpg"
    Image.new("RGB", (32, 32), (0, 90, 0)).save(other)
    subfolder = f"framegate-tests/{uuid.uuid4().hex}"
    first = comfyui.upload(photo, subfolder=subfolder)
    assert first == {"name": "photo.jpg", "subfolder": subfolder, "type": "input"}
    assert comfyui.upload(photo, subfolder=subfolder) == first
    assert comfyui.upload(other, subfolder=subfolder)["name"] == "photo (1).jpg"
    fetched = comfyui.file({"filename": first["name"], "subfolder": subfolder, "type": "input"})
    assert hashlib.sha256(fetched.content).digest() == hashlib.sha256(photo.read_bytes()).digest()


def test_the_queue_and_interrupting(comfyui: ComfyUIClient, image: str) -> None:
    """A deleted prompt leaves no trace; interrupting one that waits does nothing to the one that runs."""
    long = noisy_video(image, width=640, height=352, amount=60, seed=new_seed())
    running, waiting, last = (
        comfyui.submit(each) for each in (long, noisy_video(image, seed=new_seed()), noisy_video(image))
    )
    comfyui.post("/interrupt", {"prompt_id": waiting})
    comfyui.post("/queue", {"delete": [waiting]})
    assert waiting not in [item[1] for item in comfyui.get("/queue").json()["queue_pending"]]
    assert comfyui.entry(running)["status"]["messages"][-1][0] == "execution_success"
    assert comfyui.entry(last)["status"]["completed"] is True
    assert comfyui.get(f"/history/{waiting}").json() == {}


async def test_the_websocket(comfyui: ComfyUIClient, image: str) -> None:
    messages = await comfyui.watch(noisy_video(image, seed=new_seed()))
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "status"
    assert {"execution_start", "execution_cached", "progress_state", "executing", "executed"} < set(kinds)
    assert kinds[-3:] == ["execution_success", "status", "executing"] or "execution_success" in kinds
    states = [message["data"]["nodes"] for message in messages if message["type"] == "progress_state"]
    assert states[-1]["6"]["state"] == "finished"


def test_saved_images(comfyui: ComfyUIClient, image: str) -> None:
    graph = {
        "1": node("LoadImage", image=image),
        "92:3": node("ImageAddNoise", image=["1", 0], seed=new_seed(), strength=0.1),
        "save": node("SaveImage", images=["92:3", 0], filename_prefix="framegate-tests/a b"),
        "look": node("PreviewImage", images=["92:3", 0]),
    }
    outputs = comfyui.run(graph)["outputs"]
    [saved] = outputs["save"]["images"]
    assert (saved["subfolder"], saved["type"]) == ("framegate-tests", "output")
    assert saved["filename"].startswith("a b_")
    assert outputs["look"]["images"][0]["type"] == "temp"
    with Image.open(io.BytesIO(comfyui.file(saved).content)) as saved_image:
        assert bare(json.loads(saved_image.info["prompt"])) == bare(graph)
