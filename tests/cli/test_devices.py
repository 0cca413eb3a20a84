"""Devices: found through the drivers' libraries, of which a fake one is compiled here."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framegate.cli.devices import Device, choose_devices, find_gpus, spread
from framegate.core.errors import ConfigError
from tests.support.running import framegate

SOURCE = Path(__file__).parents[1] / "support" / "fake_cuda.c"
HaveGpus = Callable[[int], dict[str, str]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fake driver."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the fake driver is for Linux, and needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-o",
        str(folder / "libcuda.so.1"),
        str(SOURCE),
    ]
    subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture
def have_gpus(driver: Path, monkeypatch: pytest.MonkeyPatch) -> HaveGpus:
    """Give this host that many GPUs."""

    def have(count: int) -> dict[str, str]:
        environ = {"LD_LIBRARY_PATH": str(driver), "FAKE_GPUS": str(count)}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return environ

    return have


def test_gpus_are_found_by_name_and_memory(have_gpus: HaveGpus) -> None:
    have_gpus(2)
    assert find_gpus() == [
        Device("cuda:0", "GPU number 0", 2**35),
        Device("cuda:1", "GPU number 1", 2**36),
    ]


def test_a_driver_that_crashes_has_none(have_gpus: HaveGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    have_gpus(2)
    monkeypatch.setenv("FAKE_CRASH", "1")
    assert find_gpus() == ()
    assert choose_devices("auto") == ["cpu"]


def test_auto_is_every_gpu_or_the_cpu(have_gpus: HaveGpus) -> None:
    have_gpus(2)
    assert choose_devices("auto") == ["cuda:0", "cuda:1"]
    assert choose_devices("cuda, cuda:1,cpu") == ["cuda:0", "cuda:1", "cpu"]
    have_gpus(0)
    assert choose_devices("auto") == ["cpu"]


def test_workers_take_turns_on_the_devices() -> None:
    assert spread(["cuda:0", "cuda:1"], 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert spread(["cpu"], 2) == ["cpu", "cpu"]


@pytest.mark.parametrize("requested", ["", "gpu", "cuda:x", "cuda:-1", "cuda:00", "cpu,", "auto,cpu"])
def test_what_is_not_a_device_is_refused(requested: str) -> None:
    with pytest.raises(ConfigError, match="--devices"):
        choose_devices(requested)


@pytest.mark.parametrize(
    ("gpus", "there_is"),
    [(2, "this host has cuda:0 and cuda:1 (and cpu)"), (0, "this host has no GPU, only cpu")],
)
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",)])
def test_a_device_that_is_missing_is_refused(
    have_gpus: HaveGpus, tmp_path: Path, command: tuple[str, ...], gpus: int, there_is: str
) -> None:
    environ = {**have_gpus(gpus), "FRAMEGATE_QUEUE__URL": "redis://127.0.0.1:9/0"}
    done = framegate(*command, "--devices", "cpu,cuda:3", data_dir=tmp_path / "data", environ=environ)
    assert done.returncode == 1
    assert f"Error: --devices: there is no cuda:3; {there_is}.\n" in done.stderr
    assert "Traceback" not in done.stderr
