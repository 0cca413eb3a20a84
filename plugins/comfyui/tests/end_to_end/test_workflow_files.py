"""The operator's workflow files: added, changed, broken, removed, checked."""

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.graphs import Graph, with_inputs
from tests.support.comfyui.serving import (
    chat,
    config,
    data_uri,
    difference,
    download_linked,
    frames_of,
    readiness,
)
from tests.support.comfyui.workflows import KIT, TEXT_TO_IMAGE, UI_FORMAT, write
from tests.support.running import COMMAND, RunningServer, clean_environ, eventually


def with_title(graph: Graph, node_id: str, title: str) -> Graph:
    return {**graph, node_id: {**graph[node_id], "_meta": {"title": title}}}


def names(server: RunningServer) -> set[str]:
    listed = requests.get(f"{server.url}/v1/models", timeout=10).json()["data"]
    return {model["id"] for model in listed}


def comfyui_command(
    config_file: Path, *arguments: str | os.PathLike[str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "comfyui", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environ({"FRAMEGATE_CONFIG": str(config_file)}),
        cwd=config_file.parent,
    )


@pytest.fixture
def config_file(comfyui: ComfyUIClient, tmp_path: Path) -> Path:
    """A config with no workflows of the operator's own yet."""
    (tmp_path / "workflows").mkdir()
    file = tmp_path / "framegate.toml"
    file.write_text(config(comfyui.url, workflows=tmp_path / "workflows"))
    return file


def test_check_without_a_server(config_file: Path) -> None:
    folder = config_file.parent / "workflows"
    write(folder, kit=KIT)
    config_file.write_text(f'[plugins.comfyui]\nworkflows = "{folder}"\n')
    done = comfyui_command(config_file, "check", folder / "kit.json")
    assert done.returncode == 0, done.stdout
    assert "names no server" in done.stderr


def test_list_and_describe(config_file: Path) -> None:
    write(config_file.parent / "workflows", kit=KIT, text_to_image=TEXT_TO_IMAGE)
    listed = {
        each["name"]: each for each in json.loads(comfyui_command(config_file, "list", "--json").stdout)
    }
    assert listed.keys() == {"kit", "text_to_image", "weight_free", "ltx2_landscape", "ltx2_portrait"}
    assert listed["kit"]["tasks"] == ["image-to-video"]
    assert listed["text_to_image"]["tasks"] == ["text-to-image"]
    bound = {(each["name"], each["node"], each["input"]) for each in listed["kit"]["parameters"]}
    assert {("image", "10", "image"), ("num_frames", "92:3", "amount"), ("prompt", "16", "value")} <= bound
    described = comfyui_command(config_file, "describe", "kit")
    assert described.returncode == 0, described.stderr
    assert "$prompt" in described.stdout
    assert "What to show" in described.stdout
    missing = comfyui_command(config_file, "describe", "none")
    assert missing.returncode != 0
    assert "kit" in missing.stderr


def test_files_are_read_again(framegate: RunningServer, workflows: Path, photo: Path) -> None:
    image = data_uri(photo)

    def num_frames(model: str) -> int:
        return len(frames_of(download_linked(chat(framegate, model, "a boat", image))))

    write(workflows, changing=KIT)
    eventually(lambda: "changing" in names(framegate), what="the new model")
    eventually(lambda: "changing" in framegate.json("workers")[0]["models"], what="its worker")
    assert {"kit", "weight_free", "ltx2_landscape", "ltx2_portrait"} <= names(framegate)
    assert num_frames("changing") == 9

    write(workflows, changing=with_inputs(KIT, "92:3", amount=5), removed=KIT)
    eventually(lambda: "removed" in names(framegate), what="the second model")
    assert num_frames("changing") == 5

    write(workflows, changing={**KIT, "10": {"class_type": "LoadImage"}}, removed=UI_FORMAT)
    message = framegate.run("plugins").stderr
    assert "changing.json" in message
    assert "removed.json" in message
    assert "Export (API)" in message
    assert num_frames("changing") == 5, "the last good version is kept"

    (workflows / "removed.json").unlink()
    (workflows / "changing.json").unlink()
    eventually(lambda: not {"removed", "changing"} & names(framegate), what="the end of both models")
    gone = chat(framegate, "removed", "a boat", image)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


def test_a_file_that_is_broken_from_the_start(framegate: RunningServer) -> None:
    assert "kit" in names(framegate)
    assert "broken" not in names(framegate)
    eventually(lambda: "broken.json" in readiness(framegate)[1], what="the finding in /status")


@pytest.mark.parametrize("model", ["webm", "animated", "vhs"])
def test_other_savers_and_dotted_inputs(
    framegate: RunningServer, fake: FakeComfyUI, photo: Path, model: str
) -> None:
    video = download_linked(chat(framegate, model, "a boat", data_uri(photo)))
    assert video[4:8] == b"ftyp"
    frames = frames_of(video)
    assert len(frames) == 9
    assert difference(frames, photo) < 10
    if model == "vhs":
        [*_, prompt] = fake.prompts()
        size = [prompt["11"]["inputs"][f"resize_type.{side}"] for side in ("height", "width")]
        assert list(frames.shape[1:3]) == size


def test_several_images(framegate: RunningServer) -> None:
    body = {"model": "several_images", "prompt": "blue", "n": 2, "size": "160x96"}
    response = requests.post(f"{framegate.url}/v1/images/generations", json=body, timeout=60)
    assert response.status_code == 200, response.text
    one, other = (
        base64.b64decode(each["b64_json"])
        if each.get("b64_json")
        else requests.get(each["url"], timeout=10).content
        for each in response.json()["data"]
    )
    assert one != other
    for data in (one, other):
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (160, 96)


def test_check(config_file: Path, comfyui: ComfyUIClient) -> None:
    folder = config_file.parent / "workflows"
    write(folder, kit=KIT, text_to_image=TEXT_TO_IMAGE)
    good = comfyui_command(config_file, "check", folder / "kit.json", folder / "text_to_image.json")
    assert (good.returncode, good.stderr) == (0, "")
    assert "kit, text_to_image" in good.stdout

    broken: dict[str, Any] = {
        "ui_format": UI_FORMAT,
        "misspelt": with_title(KIT, "92:3", "$param.num_frame"),
        "unknown_key": with_title(KIT, "92:3", "$param.colour"),
        "linked": with_title(KIT, "11", "$picture.image"),
        "wrong_value": with_inputs(KIT, "11", upscale_method="magic"),
        "missing_node": {**KIT, "99": {"class_type": "NotInstalled", "inputs": {}}},
    }
    write(folder, **broken)
    done = comfyui_command(config_file, "check", *(folder / f"{name}.json" for name in broken))
    assert (done.returncode, done.stderr) == (1, ""), "the sentences are enough"
    lines = done.stdout.splitlines()
    assert len(lines) == len(broken)
    messages = {name: next(line for line in lines if name in line) for name in broken}
    assert "Export (API)" in messages["ui_format"]
    assert not [line for line in lines if ".." in line]
    assert "did you mean $param.num_frames?" in messages["misspelt"]
    assert 'node 92:3 "$param.colour" (RepeatImageBatch)' in messages["unknown_key"]
    assert "amount" in messages["unknown_key"]
    assert "linked to node 10" in messages["linked"]
    assert "node 11" in messages["wrong_value"]
    assert "'magic'" in messages["wrong_value"]
    assert "lanczos" in messages["wrong_value"]
    assert "NotInstalled" in messages["missing_node"]
    assert comfyui.url.rpartition("/")[2] in messages["missing_node"]
