"""``framegate models --memory``."""

import json
from pathlib import Path

import pytest

from framegate.cli.devices import Device
from tests.support.full_models import FULL_MODELS, write_folder
from tests.support.in_process import Done, run_command
from tests.support.running import clean_environ

CONFIG = """
[models.video]
backend = "wan22-t2v"
source = "{folder}"
[models.gone]
backend = "wan22"
source = "/no/such/folder"
[models.later]
backend = "wan22"
source = "framegate/never-downloaded"
[models.pictures]
backend = "preview"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = next(model for model in FULL_MODELS if model.title == "Wan2.2-T2V-A14B")
    source = write_folder(model, tmp_path / "model")
    (tmp_path / "framegate.toml").write_text(CONFIG.format(folder=source))
    return tmp_path


def memory(folder: Path, *arguments: str, columns: str = "200") -> Done:
    environ = clean_environ({"COLUMNS": columns, "HF_HUB_CACHE": str(folder / "hub")})
    return run_command(["models", "--memory", *arguments], environ=environ, cwd=folder)


def test_each_phase_and_the_choice_are_printed(folder: Path) -> None:
    done = memory(folder, "--gpu-memory", "48")
    assert done.returncode == 0, done.stderr
    video = next(line for line in done.stdout.splitlines() if line.startswith("video")).split()
    assert video[1] == "1280×720×81"
    assert " ".join(video[2:10]) == "transformer 26.6, transformer_2 26.6, text_encoder 10.6, vae 0.5"
    assert " ".join(video[10:]) == "10.8 (0.2) 14.4 (14.0) 34.8 (8.2) 17.6 (17.1) 36.8 model"
    largest = next(line for line in done.stdout.splitlines() if line.startswith("video:"))
    assert largest == "video: its largest shot, 1280×720×121, takes 40.7 GiB with offload model."
    assert "gone: /no/such/folder is not on this host, so its size is not known." in done.stdout
    assert "later: framegate/never-downloaded is not on this host" in done.stdout
    assert "pictures" not in done.stdout
    assert "GPU with 47.0 usable" in done.stdout


def test_a_card_that_is_too_small_is_said_to_be(folder: Path) -> None:
    assert "group, decodes in tiles: does not fit" in memory(folder, "--gpu-memory", "4").stdout


def test_programs_get_bytes(folder: Path) -> None:
    printed = json.loads(memory(folder, "--json", "--gpu-memory", "80").stdout)
    gone, later, video = sorted(printed, key=lambda each: str(each["model"]))
    assert (gone["plan"], later["plan"]) == (None, None)
    assert gone["reason"]
    plan = video["plan"]
    assert plan["size"] == {"width": 1280, "height": 720, "num_frames": 81}
    assert plan["weights"]["transformer"] == 2 * 14_289_000_000
    assert (plan["offload"], plan["fits"], plan["note"]) == ("text-encoder", True, "")
    assert plan["peak"] == max(plan["phases"].values()) + 2 * 2**30


def test_this_host_has_a_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Device("cuda:0", "NVIDIA H200", 141 * 2**30), Device("cuda:1")]
    monkeypatch.setattr("framegate.cli.model_memory.find_gpus", lambda: gpus)
    assert "GPU with 141.0 usable" in memory(folder).stdout


def test_a_host_without_a_card_asks_for_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framegate.cli.model_memory.find_gpus", list)
    done = memory(folder)
    assert done.returncode == 2
    assert (
        "no GPU was found on this host; name the memory of one in GB, such as --gpu-memory 24" in done.stderr
    )


def test_it_is_about_this_host(folder: Path) -> None:
    done = memory(folder, "--url", "https://example.com")
    assert done.returncode == 2
    assert "--memory is about the models of this host" in done.stderr


def test_doctor_says_how_much_a_whole_model_takes(folder: Path) -> None:
    environ = clean_environ({"HF_HUB_CACHE": str(folder / "hub")})
    shown = run_command(["doctor"], environ=environ, cwd=folder).stdout
    video = next(line for line in shown.splitlines() if "model video:" in line)
    assert "takes up to 83 GiB of a GPU for 1280×720×81" in video
