"""What `framegate doctor` finds wrong on a host."""

import json
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.external_valkey import ExternalValkey
from tests.support.in_process import run_command
from tests.support.running import clean_environ

Findings = dict[str, list[dict[str, str | bool]]]
Doctor = Callable[..., Findings]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Run it with a config, and return its lines by subject."""

    def run(config: str = "", **environ: str) -> Findings:
        (tmp_path / "framegate.toml").write_text(config)
        done = run_command(
            ["doctor", "--json", "--data-dir", tmp_path / "data"],
            environ=clean_environ(environ),
            cwd=tmp_path,
        )
        findings = json.loads(done.stdout)
        assert done.returncode == (0 if all(finding["ok"] for finding in findings) else 1)
        by_subject: Findings = {}
        for finding in findings:
            by_subject.setdefault(finding["subject"], []).append(finding)
        return by_subject

    return run


def failures(findings: Findings, subject: str) -> list[str]:
    return [str(finding["detail"]) for finding in findings[subject] if not finding["ok"]]


def test_a_wrong_config_is_among_the_findings(doctor: Doctor) -> None:
    found = doctor("[models.preview]\noptions = { quality = 1 }\n[aliases.a]\nmodel = 'previw'\n")
    first, second = failures(found, "config")
    assert first.startswith("framegate.toml:2: models.preview.options.quality: unknown setting")
    assert second.startswith(
        "framegate.toml:4: aliases.a.model: unknown model 'previw'; did you mean preview?"
    )


def model_folder(folder: Path, *components: str) -> Path:
    """A model in diffusers' layout that has these components."""
    index: dict[str, Any] = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.36.0",
        "boundary_ratio": None,
    }
    index |= {name: ["diffusers", "Thing"] for name in ("transformer", "vae")}
    index |= {"image_encoder": [None, None]}
    for component in components:
        (folder / component).mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_the_files_of_models(doctor: Doctor, tmp_path: Path) -> None:
    whole = model_folder(tmp_path / "whole", "transformer", "vae")
    half = model_folder(tmp_path / "half", "vae")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cache" / "hub" / "models--org--cached" / "snapshots" / "abc").mkdir(parents=True)
    options = f'options = {{ weights = {{ vae = "{tmp_path}/vae.gguf" }}, loras = ['
    options += (
        f'{{ source = "{whole}", weight_name = "l.safetensors" }}, {{ source = "/no/such.safetensors" }}] }}'
    )
    config = "".join(
        f'[models.{name}]\nbackend = "wan21"\nsource = "{source}"\n'
        for name, source in {
            "missing": "/no/such/folder",
            "half": half,
            "empty": tmp_path / "empty",
            "cached": "org/cached",
            "hub": "org/other",
        }.items()
    )
    config += '[models.offline]\nbackend = "wan21"\nsource = "org/other"\noptions = { offline = true }\n'
    config += f'[models.parts]\nbackend = "wan21"\nsource = "{whole}"\n{options}\n'
    found = doctor(config, HF_HOME=str(tmp_path / "cache"))
    assert failures(found, "model missing") == ["source: there is no /no/such/folder."]
    assert failures(found, "model half") == [
        f"source: the folder {half} has no component 'transformer', which its model_index.json names."
    ]
    (reason,) = failures(found, "model empty")
    assert reason.startswith(f"source: the folder {tmp_path / 'empty'} has no model_index.json")
    assert failures(found, "model offline") == [
        "source: org/other is not in this host's hub cache, and options.offline is set."
    ]
    assert failures(found, "model parts") == [
        f"weights.vae: there is no {tmp_path}/vae.gguf.",
        f"loras[0].weight_name: {whole} has no file l.safetensors.",
        "loras[1].source: there is no /no/such.safetensors.",
    ]
    for name, words in {"cached": "is in the hub cache", "hub": "will be downloaded from the hub"}.items():
        (finding,) = found[f"model {name}"]
        assert words in str(finding["detail"]) or "workers here lack" in str(finding["detail"])


def test_the_port(doctor: Doctor) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        (reason,) = failures(doctor(f"[server]\nport = {port}\n"), "port")
    assert reason == f"127.0.0.1:{port} is used by another program; set server.port, or stop that one"
    assert not failures(doctor(f"[server]\nport = {port}\n"), "port")


def test_little_room_is_a_warning(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**30)

    def little_room(_: Path) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", little_room)
    (finding, *_) = doctor()["disk"]
    assert (finding["ok"], finding["warning"]) == (True, True)
    assert str(finding["detail"]).startswith("only 1.0 GiB of ")


def test_codecs_really_encode(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = doctor()["video encoder"]
    assert str(finding["detail"]).endswith("with libx264 and aac")

    def without_codec(*_: object, **__: object) -> None:
        raise ValueError("no encoder aac")

    monkeypatch.setattr("av.AudioFrame", without_codec)
    assert failures(doctor(), "video encoder") == ["ValueError: no encoder aac"]


def test_disabled_plugins(doctor: Doctor) -> None:
    found = doctor('[plugins]\ndisabled = ["wan21"]\n')
    assert [finding["detail"] for finding in found["plugin wan21"]] == ["disabled by [plugins] disabled"]


def test_a_clock_that_is_off(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valkey = ExternalValkey(tmp_path / "valkey", options={"appendonly": "no"})
    try:
        config = f'[queue]\nurl = "{valkey.url}"\n'
        found = doctor(config)
        assert not failures(found, "clock")
        assert any("keeps no append-only file" in reason for reason in failures(found, "queue"))
        now = time.time
        monkeypatch.setattr("framegate.cli.doctor.queue.time.time", lambda: now() + 90)
        (reason,) = failures(doctor(config), "clock")
    finally:
        valkey.kill()
    assert reason.startswith("this host's clock is 90.0 s ahead of that of the queue's server")
