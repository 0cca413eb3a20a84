"""The table of the config, and the files that it leads to."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from framegate.core.errors import ConfigError
from framegate.plugins.comfyui import framegate_health, framegate_models
from framegate.plugins.comfyui.config import ComfyConfig, ServerConfig, read_config
from framegate.plugins.comfyui.workflows.library import SHIPPED, Library
from tests.support.comfyui.graphs import noisy_video

SERVER = {"url": "http://127.0.0.1:8188"}


def test_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFY_TOKEN", "secret")
    config = read_config(
        {
            "workflows": str(tmp_path),
            "when_down": "fail",
            "run_timeout": "30m",
            "servers": [
                {
                    "url": "https://gpu.internal/comfy",
                    "token": {"env": "COMFY_TOKEN"},
                    "headers": {"X-Team": {"env": "COMFY_TOKEN"}},
                    "query": {"key": {"env": "COMFY_TOKEN"}},
                }
            ],
        }
    )
    [server] = config.servers
    assert (server.name, config.run_timeout, config.folder) == ("gpu.internal", 1800.0, tmp_path)
    assert server.secret_headers() == {"Authorization": "Bearer secret", "X-Team": "secret"}
    assert server.secret_query() == {"key": "secret"}
    assert "secret" not in repr(config), "secrets stay in the environment"
    assert read_config(config.as_options()) == config


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"server": []}, r"plugins\.comfyui\.server: there is no such option; there are: workflows, servers"),
    ({"servers": [{}]}, r"plugins\.comfyui\.servers\[0\]: .*missing required field `url`"),
    ({"servers": [{"url": "127.0.0.1:8188"}]}, r"servers\[0\]\.url: this is no address of a ComfyUI"),
    ({"servers": [{"url": "http://u:pw@host"}]}, "a password does not belong into the file"),
    ({"when_down": "hope"}, r"when_down: Invalid enum value 'hope'"),
    ({"run_timeout": "soon"}, "Expected a duration"),
    ({"tries": 0}, "tries: Expected `int` >= 1"),
]


@pytest.mark.parametrize(("table", "message"), WRONG)
def test_a_wrong_table(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(table)
    assert "pw" not in caught.value.message


def test_a_secret_that_is_not_set() -> None:
    [server] = read_config({"servers": [{**SERVER, "token": {"env": "NO_SUCH_VARIABLE"}}]}).servers
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH_VARIABLE is not set"):
        server.secret_headers()


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


def write(path: Path, text: str) -> None:
    """As an editor would: a new file in its place."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    library = Library(tmp_path)
    assert library.entries() == {}
    path = tmp_path / "flow.json"
    write(path, json.dumps(noisy_video("a.png", width=64)))
    first = library.entries()["flow"]
    assert first.spec.defaults.width == 64
    assert library.entries()["flow"] is first, "an unchanged file is not read again"
    write(path, json.dumps(noisy_video("a.png", width=128)))
    assert library.entries()["flow"].spec.defaults.width == 128
    path.rename(tmp_path / "other.json")
    assert list(library.entries()) == ["other"]
    (tmp_path / "other.json").unlink()
    assert library.entries() == {}


def test_a_broken_file_leaves_the_last_good_version_and_the_others(tmp_path: Path) -> None:
    library = Library(tmp_path)
    write(tmp_path / "fine.json", json.dumps(noisy_video("a.png")))
    write(tmp_path / "flow.json", json.dumps(noisy_video("a.png", width=64)))
    assert len(library.entries()) == 2
    with capture_logs() as lines:
        write(tmp_path / "flow.json", json.dumps({"nodes": [], "links": []}))
        write(tmp_path / "new.json", "{")
        assert set(library.entries()) == {"fine", "flow"}
        assert library.entries()["flow"].spec.defaults.width == 64
    assert sorted(line["file"] for line in lines) == ["flow.json", "new.json"], "each is logged once"
    flow, new = library.faults()
    assert flow.startswith("The workflow flow.json can't be served: it is in ComfyUI's UI format")
    assert flow.endswith("The version before it still is.")
    assert ".." not in flow
    assert new.startswith("The workflow new.json can't be served: it is no JSON")
    write(tmp_path / "flow.json", json.dumps(noisy_video("a.png", width=128)))
    (tmp_path / "new.json").unlink()
    assert library.faults() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    (tmp_path / "flow.json").touch(mode=0)
    assert Library(tmp_path).faults() == [
        "The workflow flow.json can't be served: it can't be read: Permission denied."
    ]


def test_hidden_files_are_nobodys_workflows(tmp_path: Path) -> None:
    (tmp_path / "._flow.json").write_bytes(b"\0")
    assert Library(tmp_path).faults() == []


def test_problems_without_reaching_out(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text("{")
    [problem] = framegate_health({"workflows": str(tmp_path), "servers": [SERVER]}, reach=False)
    assert "flow.json" in problem
    assert str(tmp_path) not in problem
    assert framegate_health({}, reach=True) == []


def test_a_folder_that_is_not_there_yet_is_a_problem(tmp_path: Path) -> None:
    table = {"workflows": str(tmp_path / "flows"), "servers": [SERVER]}
    assert framegate_health(table, reach=False) == ["plugins.comfyui.workflows: there is no such folder."]
    assert "weight_free" in [model.id for model in framegate_models(table)]
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "mine.json").write_text(json.dumps(noisy_video("a.png")))
    assert framegate_health(table, reach=False) == []
    assert "mine" in [model.id for model in framegate_models(table)]


def test_a_server_that_is_down_is_a_problem() -> None:
    [problem] = framegate_health({"servers": [{"url": "http://127.0.0.1:9"}]}, reach=True)
    assert problem.startswith("The ComfyUI at 127.0.0.1:9 does not answer")


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "comfyui.md").read_text(encoding="utf-8")
    for name in (*ComfyConfig.__struct_fields__, *ServerConfig.__struct_fields__):
        assert name == "servers" or re.search(rf"^{name} = ", page, re.MULTILINE), name
    for block in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        table = tomllib.loads(block)["plugins"]["comfyui"]
        table.pop("workflows", None)
        assert read_config(table).servers


def test_every_shipped_workflow_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "comfyui.md").read_text(encoding="utf-8")
    for path in SHIPPED.glob("*.json"):
        assert f"`{path.stem}`" in page
