"""The models and the health findings that the plugin's hooks give."""

import json
from pathlib import Path

from framegate.plugins.comfyui import framegate_health, framegate_models
from framegate.plugins.comfyui.config import ComfyConfig, read_config
from framegate.plugins.comfyui.workflows.library import SHIPPED_FOLDER
from tests.support.comfyui.graphs import noisy_video

SERVER = {"url": "http://127.0.0.1:8188"}


def test_models_come_with_servers(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(noisy_video("a.png")))
    assert framegate_models({"workflows": str(tmp_path)}) == []
    models = {
        model.id: model for model in framegate_models({"workflows": str(tmp_path), "servers": [SERVER]})
    }
    assert set(models) == {"ltx2_landscape", "ltx2_portrait", "weight_free", "mine"}
    assert len({model.queue for model in models.values()}) == 1
    assert list(models["mine"].options["servers"]) == [SERVER]
    assert read_config({}) == ComfyConfig()


def test_the_operators_file_wins_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "ltx2_portrait.json").write_text(json.dumps(noisy_video("a.png", width=64, height=128)))
    table = {"workflows": str(tmp_path), "servers": [SERVER]}
    [model] = [model for model in framegate_models(table) if model.id == "ltx2_portrait"]
    assert model.defaults.height == 128


def test_findings_without_asking_servers(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text("{")
    [finding] = framegate_health({"workflows": str(tmp_path), "servers": [SERVER]}, check_network=False)
    assert "flow.json" in finding
    assert str(tmp_path) not in finding
    assert framegate_health({}, check_network=True) == []


def test_a_missing_folder_is_a_finding(tmp_path: Path) -> None:
    table = {"workflows": str(tmp_path / "flows"), "servers": [SERVER]}
    assert framegate_health(table, check_network=False) == [
        "plugins.comfyui.workflows: the folder does not exist."
    ]
    assert "weight_free" in [model.id for model in framegate_models(table)]
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "mine.json").write_text(json.dumps(noisy_video("a.png")))
    assert framegate_health(table, check_network=False) == []
    assert "mine" in [model.id for model in framegate_models(table)]


def test_a_server_that_is_down_is_a_finding() -> None:
    [finding] = framegate_health({"servers": [{"url": "http://127.0.0.1:9"}]}, check_network=True)
    assert finding.startswith("The ComfyUI at 127.0.0.1:9 does not respond")


def test_every_shipped_workflow_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "comfyui.md").read_text(encoding="utf-8")
    for path in SHIPPED_FOLDER.glob("*.json"):
        assert f"`{path.stem}`" in page
