"""Backend plugins as pip installs them, on a host without torch."""

import json
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


HEAVY = ("torch", "torchao", "diffusers", "transformers", "accelerate", "peft")


class Host:
    """An environment with the `framegate` distribution alone, and with what it needs from the one that the
    tests run in."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        self.bin = folder / "venv" / "bin"
        libraries = folder / "libraries"
        libraries.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.lower().startswith(
                (*HEAVY, "framegate", "_framegate", "_editable", "__editable")
            ):
                (libraries / entry.name).symlink_to(entry)
        for own in (folder / "venv" / "lib").glob("python*/site-packages"):
            (own / "libraries.pth").write_text(f"{libraries}\n")
        self.config = folder / "framegate.toml"
        self.config.write_text("")
        self.data = folder / "data"
        self.pip("install", *(REPOSITORY / name for name in ("core", "adapters", "plugins/preview", ".")))

    def pip(self, command: str, *arguments: str | Path) -> None:
        alone = ("--no-deps", "--no-build-isolation") if command == "install" else ()
        subprocess.run(
            [self.bin / "python", "-m", "pip", command, "--quiet", *alone, *arguments],
            check=True,
            capture_output=True,
        )

    def framegate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "framegate", *arguments, "--config", self.config, "--data-dir", self.data],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def plugins(self) -> dict[str, dict[str, Any]]:
        listed = json.loads(self.framegate("plugins", "--json").stdout)
        return {plugin["name"]: plugin for plugin in listed}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("host"))


def test_models_come_and_go_with_their_plugin_and_say_what_they_need(host: Host, tmp_path: Path) -> None:
    assert "wan22" not in host.plugins()
    host.pip("install", REPOSITORY / "plugins" / "diffusers", REPOSITORY / "plugins" / "wan22")
    assert host.plugins()["wan22"]["models"] == ["wan22", "wan22-i2v", "wan22-t2v"]
    missing = host.plugins()["wan22"]["missing"]
    assert "torch" in missing
    assert "pip install 'framegate-wan22[torch]'" in missing
    assert "workers here lack" in " ".join(host.framegate("plugins").stdout.split())

    # The server runs on: what needs no torch is made, what needs it fails and says why.
    host.config.write_text(f'[models.wan22]\nsource = "{tmp_path}"\n')
    small = ("--width", "64", "--height", "64", "--num-frames", "5", "-o", str(tmp_path / "out.mp4"))
    assert host.framegate("generate", "a boat", *small).returncode == 0
    failed = host.framegate("generate", "a boat", "--model", "wan22", *small)
    assert failed.returncode == 1
    assert "This worker lacks" in failed.stderr
    assert "pip install 'framegate-wan22[torch]'" in failed.stderr
    assert "Traceback" not in failed.stderr

    host.pip("uninstall", "--yes", "framegate-wan22")
    gone = host.framegate("models")
    assert gone.returncode == 1
    assert "install framegate-wan22" in gone.stderr, "a config that still names it says what is missing"
    host.config.write_text("")
    assert "wan22" not in host.plugins()
