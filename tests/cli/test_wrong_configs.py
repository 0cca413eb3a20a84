"""Wrong configs: what `config check` says of each, and that `serve` and `worker` refuse the same.

They run in this process, as each of them ends before anything is started.
"""

import json
import os
import socket
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from framegate.core.plugins import discover, load_object
from tests.support.in_process import Done, run_command
from tests.support.running import clean_environ, framegate

LONG = "0123456789abcdef"
VARIABLES = {
    "GOOD_KEY": "a key of alice " + LONG,
    "SAME_KEY": "a key of alice " + LONG,
    "SHORT_KEY": "short1234",
    "GOOD_HOOK": "whsec_YSBzZWNyZXQgb2YgdGhlIHdlYmhvb2tz",
    "BAD_HOOK": "my-own-idea",
    "SHORT_LINK": "short-link-secret",
    "EMPTY": "",
    "S3_ID": "AKIA" + LONG,
}
SECRETS = [*filter(None, VARIABLES.values()), "hunter2"]


ROWS = tomllib.loads(Path(__file__).with_name("wrong_configs.toml").read_text())["config"]


def run(*arguments: str, folder: Path, **environ: str) -> Done:
    data_dir = os.fspath(folder / "data")
    return run_command(
        [*arguments, "--data-dir", data_dir] if "data_dir" not in _config(folder) else list(arguments),
        environ={**clean_environ(), **VARIABLES, **environ},
        cwd=folder,
    )


def _config(folder: Path) -> str:
    file = folder / "framegate.toml"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_wrong_config(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "framegate.toml").write_text(row["text"])
    expected = f"framegate.toml:{row['line']}: {row['error']}"
    checked = run("config", "check", folder=tmp_path)
    told = checked.stderr.splitlines()
    assert [each.startswith(f"Error: {expected}") for each in told if each.startswith("Error")] == [True], (
        told
    )
    assert (checked.returncode, checked.stdout) == (1, "")
    refused = [run("serve", "--no-worker", folder=tmp_path)]
    if row.get("worker", True):
        refused.append(run("worker", "--device", "cpu", folder=tmp_path))
    for done in refused:
        assert done.returncode == 1
        assert [each for each in done.stderr.splitlines() if each.startswith("Error")] == told[:1]
    everything = "".join(done.stdout + done.stderr for done in (checked, *refused))
    assert not [secret for secret in SECRETS if secret in everything]
    assert not (tmp_path / "data").exists(), "nothing was begun"


def test_everything_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "framegate.toml").write_text(
        """
[server]
port = "web"
trusted_proxies = ["lb", "10.0.0.0/8", "x y"]
[dialects]
enabled = ["sora2ap", "lightx2v"]
[dialects.lightx2v]
prefix = "lx"
vocabulary = "docs"
[[auth.keys]]
name = "a"
key = "hunter2"
[[auth.keys]]
name = "b"
key = { env = "NO_SUCH" }
[models.wan21]
source = "/m"
preset = "quick"
options = { ofload = "none", cache_interval = 0 }
defaults = { fps = 1000.0 }
[aliases.mine]
model = "previw"
defaults = { width = 1 }
[fetch]
allow = ["http://x/"]
[storage]
url = "s3://films"
access_key_id = { env = "S3_ID" }
[links]
expiry = 0
[plugins.zoo]
"""
    )
    done = run("config", "check", "--json", folder=tmp_path, FRAMEGATE_QUEUE__MAX_QUEUED="many")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {(each["where"].removeprefix("framegate.toml:"), each["key"]) for each in found["errors"]} == {
        ("environment variable FRAMEGATE_QUEUE__MAX_QUEUED", "queue.max_queued"),
        ("3", "server.port"),
        ("4", "server.trusted_proxies[0]"),
        ("4", "server.trusted_proxies[2]"),
        ("6", "dialects.enabled[0]"),
        ("8", "dialects.lightx2v.prefix"),
        ("9", "dialects.lightx2v.vocabulary"),
        ("12", "auth.keys[0].key"),
        ("15", "auth.keys[1].key"),
        ("18", "models.wan21.preset"),
        ("19", "models.wan21.options.ofload"),
        ("19", "models.wan21.options.cache_interval"),
        ("20", "models.wan21.defaults.fps"),
        ("22", "aliases.mine.model"),
        ("25", "fetch.allow[0]"),
        ("28", "storage.access_key_id"),
        ("30", "links.expiry"),
        ("31", "plugins.zoo"),
    }
    assert all(each["message"] for each in found["errors"])


def test_what_a_wrong_form_leads_to_is_not_an_error_too(tmp_path: Path) -> None:
    """A key that is left out doesn't leave the server open, nor a model its aliases without a model."""
    (tmp_path / "framegate.toml").write_text(
        '[server]\nhost = "0.0.0.0"\n[[auth.keys]]\nname = "a"\nkey = "hunter2"\n'
        '[models.mine]\nbackend = "wan22"\nsorce = "/m"\n[aliases.b]\nmodel = "mine"\n'
    )
    errors = json.loads(run("config", "check", "--json", folder=tmp_path).stdout)["errors"]
    assert [each["key"] for each in errors] == ["auth.keys[0].key", "models.mine.sorce"]


def test_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "framegate.toml").write_bytes(b"\xef\xbb\xbf[server]\nport = 1\n")
    assert run("config", "check", folder=tmp_path).returncode == 0


WARNINGS = [
    (
        "[[auth.keys]]\nname = 'a'\nkey = { env = 'GOOD_KEY' }\nmodels = ['preview', 'previw']\n",
        "framegate.toml:4: auth.keys[0].models[1]: unknown model 'previw'; did you mean preview?",
    ),
    (
        "[storage]\nretention = '7d'\n",
        "framegate.toml:2: storage.retention: results can't be found once their records are removed",
    ),
    (
        "[storage]\nregion = 'eu'\n",
        "framegate.toml:2: storage.region: this is for a bucket, and storage.url is",
    ),
    (
        "[models.preview]\ndefaults = { width = 833 }\n",
        "framegate.toml:2: models.preview.defaults.width: preview makes no 833×480, but 832×480 instead",
    ),
    (
        "[aliases.a]\nmodel = 'wan21'\ndefaults.num_frames = 80\n[models.wan21]\nsource = '/m'\n",
        "framegate.toml:3: aliases.a.defaults.num_frames: wan21 makes no video of 80 frames, but of 81",
    ),
]


@pytest.mark.parametrize(("text", "warning"), WARNINGS)
def test_a_warning_fails_nothing(tmp_path: Path, text: str, warning: str) -> None:
    (tmp_path / "framegate.toml").write_text(text)
    done = run("config", "check", folder=tmp_path)
    assert done.returncode == 0
    assert f"Warning: {warning}" in done.stderr
    (entry,) = json.loads(run("config", "check", "--json", folder=tmp_path).stdout)["warnings"]
    assert warning.startswith(f"{entry['where']}: {entry['key']}: ")


def test_a_right_config_is_checked_while_its_server_runs(tmp_path: Path) -> None:
    """Its own port is in use then, which is not the config's fault."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        (tmp_path / "framegate.toml").write_text(f"[server]\nport = {listener.getsockname()[1]}\n")
        assert run("config", "check", folder=tmp_path).returncode == 0


def test_weights_that_another_host_has(tmp_path: Path) -> None:
    (tmp_path / "framegate.toml").write_text("[models.wan22]\nsource = '/no/such/folder'\n")
    assert run("config", "check", folder=tmp_path).returncode == 0


def test_real_processes_refuse_what_the_check_refuses(tmp_path: Path) -> None:
    config = tmp_path / "framegate.toml"
    config.write_text("[models.preview]\noptions = { quality = 1 }\ndefaults = { width = 8330 }\n")
    told = run("config", "check", "--config", os.fspath(config), folder=tmp_path).stderr.splitlines()[:-1]
    assert len(told) == 2
    for command in ("serve", "worker"):
        done = framegate(command, "--config", os.fspath(config), data_dir=tmp_path / "data")
        assert (done.returncode, done.stderr.splitlines()) == (1, told)


def test_every_backend_of_framegates_own_describes_the_options_that_it_reads() -> None:
    models = discover().models.values()
    assert [spec.id for spec in models if not spec.options_type] == []
    for spec in models:
        described, backend = load_object(spec.options_type), load_object(spec.backend)
        assert getattr(backend, "options_kind", described) is described, spec.id


def test_a_model_that_takes_a_documented_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[framegate]\nacme = acme_plugin\n")
    (tmp_path / "acme_plugin.py").write_text(
        "from framegate.core.plugins import hookimpl\n"
        "from framegate.plugins.preview import PREVIEW\n"
        "from msgspec.structs import replace\n"
        "@hookimpl\n"
        "def framegate_models(): return [replace(PREVIEW, id='sora-2')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = run("config", "check", folder=tmp_path)
    assert done.returncode == 0
    assert "Warning: the model 'sora-2' of the plugin acme takes a name that openai-videos" in done.stderr
    (tmp_path / "framegate.toml").write_text("[plugins]\ndisabled = ['acme']\n")
    assert "Warning" not in run("config", "check", folder=tmp_path).stderr
    listed = json.loads(run("plugins", "--json", folder=tmp_path).stdout)
    assert [plugin["disabled"] for plugin in listed if plugin["name"] == "acme"] == [True]


def test_a_clashing_plugin_is_named_by_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "zoo-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[framegate]\nanimals = zoo_plugin\n")
    (tmp_path / "zoo_plugin.py").write_text(
        "from framegate.core.plugins import hookimpl\n"
        "from framegate.plugins.preview import PREVIEW\n"
        "@hookimpl\n"
        "def framegate_models(): return [PREVIEW]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    reason = "preview (framegate-preview) and animals (zoo) both offer a model named preview"
    assert run("config", "check", folder=tmp_path).returncode == 0
    listed = run("plugins", folder=tmp_path).stdout
    assert reason in listed
    assert reason in run("doctor", folder=tmp_path).stdout


UNRULY = """
import sys
from framegate.core.command import CommandSpec
from framegate.core.dialect import DialectSpec
from framegate.core.plugins import hookimpl

@hookimpl
def framegate_commands():
    return [CommandSpec("unruly", "Nothing that can be called.", "os:path")]

@hookimpl
def framegate_config_checks():
    return ["unruly_missing:check", "unruly_plugin:leave"]

@hookimpl
def framegate_dialects():
    return [DialectSpec(name="unruly", summary="", factory="unruly_plugin:leave")]

def leave(context):
    sys.exit("I need a GPU")
"""


def test_a_plugin_whose_parts_are_all_broken_keeps_nothing_from_starting(tmp_path: Path) -> None:
    installed = tmp_path / "unruly-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[framegate]\nunruly = unruly_plugin\n")
    (tmp_path / "unruly_plugin.py").write_text(UNRULY)
    done = run("config", "check", folder=tmp_path, PYTHONPATH=os.fspath(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "The config is valid" in done.stdout
    warnings = [line for line in done.stderr.splitlines() if line.startswith("Warning")]
    assert warnings == [
        (
            "Warning: the check unruly_missing:check is broken: unruly_missing:check needs the module "
            "unruly_missing, which is not installed."
        ),
        "Warning: the check unruly_plugin:leave is broken: SystemExit: I need a GPU",
    ]
    done = run_command(["unruly"], environ=clean_environ({"PYTHONPATH": os.fspath(tmp_path)}), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Error: os:path of the plugin unruly is not a click command.\n"
