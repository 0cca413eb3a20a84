"""The operator's workflow files: added, changed, broken, removed, checked."""

import base64
import io
import json
import os
import subprocess
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.graphs import Graph, noisy_video
from tests.support.comfyui.serving import ask, config, data_uri, differs, frames_of, linked
from tests.support.comfyui.workflows import ANIMATED, KIT, PICTURE, PICTURES, UI_FORMAT, VHS, WEBM, write
from tests.support.running import COMMAND, RunningServer, clean_environ, eventually

from .conftest import StartComfyUI, StartServer


def changed(graph: Graph, node_id: str, title: str = "", **inputs: object) -> Graph:
    node = graph[node_id]
    meta = {"title": title or node["_meta"]["title"]}
    return {**graph, node_id: {**node, "_meta": meta, "inputs": {**node["inputs"], **inputs}}}


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


def test_files_are_read_again(
    comfyui: ComfyUIClient, start_server: StartServer, photo: Path, tmp_path: Path
) -> None:
    workflows = write(tmp_path / "workflows", kit=KIT)
    server = start_server(config=config(comfyui.url, workflows=workflows))
    image = data_uri(photo)
    assert {"kit", "weight_free", "ltx2_landscape", "ltx2_portrait"} <= names(server)
    assert len(frames_of(linked(ask(server, "kit", "a boat", image)))) == 9

    write(workflows, kit=changed(KIT, "92:3", amount=5), more=KIT)
    eventually(lambda: "more" in names(server), what="the new model")
    eventually(lambda: "more" in server.json("workers")[0]["models"], what="its worker")
    assert len(frames_of(linked(ask(server, "kit", "a boat", image)))) == 5
    assert len(frames_of(linked(ask(server, "more", "a boat", image)))) == 9

    write(workflows, kit={**KIT, "10": {"class_type": "LoadImage"}}, more=UI_FORMAT)
    told = eventually(lambda: server.run("plugins").stderr or None, what="the broken files")
    assert "kit.json" in told
    assert "more.json" in told
    assert "Export (API)" in told
    assert len(frames_of(linked(ask(server, "kit", "a boat", image)))) == 5, "the last good version goes on"

    (workflows / "more.json").unlink()
    eventually(lambda: "more" not in names(server), what="the removed model's end")
    gone = ask(server, "more", "a boat", image)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


def test_an_operator_s_file_wins(
    comfyui: ComfyUIClient, start_server: StartServer, photo: Path, tmp_path: Path
) -> None:
    workflows = write(tmp_path / "workflows", ltx2_landscape=noisy_video("example.png", amount=4))
    server = start_server(config=config(comfyui.url, workflows=workflows))
    answer = ask(server, "ltx2_landscape", "a boat", data_uri(photo))
    assert len(frames_of(linked(answer))) == 4


def test_a_file_that_is_broken_from_the_start(
    comfyui: ComfyUIClient, start_server: StartServer, tmp_path: Path
) -> None:
    workflows = write(tmp_path / "workflows", broken=UI_FORMAT, kit=KIT)
    server = start_server(config=config(comfyui.url, workflows=workflows))
    assert "kit" in names(server)
    assert "broken" not in names(server)
    eventually(
        lambda: "broken.json" in "".join(requests.get(f"{server.url}/ready", timeout=10).json()["problems"]),
        what="/ready's word of it",
    )


def test_other_savers_and_dotted_inputs(
    start_comfyui: StartComfyUI, start_server: StartServer, photo: Path, tmp_path: Path
) -> None:
    fake = start_comfyui()
    workflows = write(tmp_path / "workflows", vhs=VHS, webm=WEBM, animated=ANIMATED)
    server = start_server(config=config(fake.url, workflows=workflows))
    for name in ("webm", "animated", "vhs"):
        video = linked(ask(server, name, "a boat", data_uri(photo)))
        assert video[4:8] == b"ftyp"
        frames = frames_of(video)
        assert len(frames) == 9
        assert differs(frames, photo) < 10
    [*_, vhs] = fake.prompts()
    size = [vhs["11"]["inputs"][f"resize_type.{side}"] for side in ("height", "width")]
    assert list(frames.shape[1:3]) == size


def test_several_pictures(comfyui: ComfyUIClient, start_server: StartServer, tmp_path: Path) -> None:
    workflows = write(tmp_path / "workflows", pictures=PICTURES)
    server = start_server(config=config(comfyui.url, workflows=workflows))
    body = {"model": "pictures", "prompt": "blue", "n": 2, "size": "160x96"}
    answer = requests.post(f"{server.url}/v1/images/generations", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    one, other = (
        base64.b64decode(each["b64_json"])
        if each.get("b64_json")
        else requests.get(each["url"], timeout=10).content
        for each in answer.json()["data"]
    )
    assert one != other
    for data in (one, other):
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (160, 96)


def test_check(config_file: Path, comfyui: ComfyUIClient) -> None:
    folder = config_file.parent / "workflows"
    write(folder, kit=KIT, picture=PICTURE)
    good = comfyui_command(config_file, "check", folder / "kit.json", folder / "picture.json")
    assert (good.returncode, good.stderr) == (0, "")
    assert "kit, picture" in good.stdout

    def told(graph: object) -> str:
        write(folder, bad=graph)
        done = comfyui_command(config_file, "check", folder / "bad.json")
        assert done.returncode == 1, done.stdout
        assert done.stderr == "", "the sentence is enough"
        assert "bad" in done.stdout
        return done.stdout

    ui_format = told(UI_FORMAT)
    assert "Export (API)" in ui_format
    assert ".." not in ui_format
    assert "did you mean $param.num_frames?" in told(changed(KIT, "92:3", "$param.num_frame"))
    nothing = told(changed(KIT, "92:3", "$param.colour"))
    assert 'node 92:3 "$param.colour" (RepeatImageBatch)' in nothing
    assert "amount" in nothing
    wired = told(changed(KIT, "11", "$picture.image"))
    assert "wired to node 10" in wired
    wrong = told(changed(KIT, "11", upscale_method="magic"))
    assert "node 11" in wrong
    assert "'magic'" in wrong
    assert "lanczos" in wrong
    unknown = told({**KIT, "99": {"class_type": "NotInstalled", "inputs": {}}})
    assert "NotInstalled" in unknown
    assert comfyui.url.rpartition("/")[2] in unknown


def test_check_without_a_server(config_file: Path) -> None:
    folder = config_file.parent / "workflows"
    write(folder, kit=KIT)
    config_file.write_text(f'[plugins.comfyui]\nworkflows = "{folder}"\n')
    done = comfyui_command(config_file, "check", folder / "kit.json")
    assert done.returncode == 0, done.stdout
    assert "names no server" in done.stderr


def test_list_and_describe(config_file: Path) -> None:
    write(config_file.parent / "workflows", kit=KIT, picture=PICTURE)
    listed = {
        each["name"]: each for each in json.loads(comfyui_command(config_file, "list", "--json").stdout)
    }
    assert listed.keys() == {"kit", "picture", "weight_free", "ltx2_landscape", "ltx2_portrait"}
    assert listed["kit"]["tasks"] == ["image-to-video"]
    assert listed["picture"]["tasks"] == ["text-to-image"]
    bound = {(each["name"], each["node"], each["input"]) for each in listed["kit"]["parameters"]}
    assert {("image", "10", "image"), ("num_frames", "92:3", "amount"), ("prompt", "16", "value")} <= bound
    described = comfyui_command(config_file, "describe", "kit")
    assert described.returncode == 0, described.stderr
    assert "$prompt" in described.stdout
    assert "What to show" in described.stdout
    missing = comfyui_command(config_file, "describe", "none")
    assert missing.returncode != 0
    assert "kit" in missing.stderr
