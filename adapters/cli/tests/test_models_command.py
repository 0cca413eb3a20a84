"""``framegate models``: one block for each model that runs, with its names below it."""

import json
from pathlib import Path

import pytest

from tests.support.in_process import run_command
from tests.support.running import clean_environ

CONFIG = """
[models.fast]
backend = "preview"
[aliases.quick]
model = "fast"
[aliases.an-alias-with-a-name-that-is-longer-than-a-line-of-eighty-columns-can-ever-hold-really]
model = "fast"
[aliases.gold]
model = "fast"
plan = "gold"
[presets]
sora2api = { video = "fast" }
"""


def models(folder: Path, *arguments: str, config: str = CONFIG, **environ: str) -> str:
    (folder / "framegate.toml").write_text(config)
    done = run_command(["models", *arguments], environ=clean_environ(environ), cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("columns", ["", "200"])
def test_it_fits_eighty_columns(tmp_path: Path, columns: str) -> None:
    shown = models(tmp_path, COLUMNS=columns)
    assert max(map(len, shown.splitlines())) <= 80


def test_names_stand_below_the_model_that_serves_them(tmp_path: Path) -> None:
    preview, fast = (" ".join(block.split()) for block in models(tmp_path).strip().split("\n\n"))
    assert preview.startswith(
        "preview backend framegate.plugins.preview.backend:PreviewBackend tasks image-to-"
    )
    assert "832×480 by default" in preview
    assert "frames any, 1 to 7200 a shot" in preview
    assert "openai-videos sora-2, sora-2-2025-10-06," in preview
    assert "sora2-" not in preview
    assert fast.startswith("fast backend")
    assert "sora2api sora2-landscape-10s, sora2-landscape-15s," in fast
    assert "sora2api with the plan chatgpt_pro: sora2pro-landscape-10s," in fast
    assert "aliases quick, an-alias" in fast
    assert "aliases with the plan gold: gold" in fast


def test_defaults_and_licences_are_shown(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    config = f'[models.turbo]\nbackend = "wan22"\nsource = "{tmp_path / "weights"}"\n'
    shown = " ".join(models(tmp_path, config=config + 'preset = "distilled-4step"\n').split())
    assert "license Apache-2.0; preset's LoRA: CC BY-NC-SA 4.0, not for commercial use" in shown
    assert "defaults 4 steps, guidance 1, negative prompt 色调艳丽" in shown
    assert "倒着走" not in shown
    listed = {model["name"]: model for model in json.loads(models(tmp_path, "--json", config=config))}
    assert listed["turbo"]["license"] == "Apache-2.0"
    assert listed["turbo"]["defaults"]["num_inference_steps"] == 50
    assert listed["turbo"]["defaults"]["negative_prompt"].endswith("倒着走")


def test_programs_get_every_name(tmp_path: Path) -> None:
    listed = {model["name"]: model for model in json.loads(models(tmp_path, "--json"))}
    assert listed["gold"]["plan"] == "gold"
    assert listed["quick"]["served_by"] == "fast"
    assert listed["sora2-portrait-10s"]["served_by"] == "fast"
    assert set(listed["preview"]) == {
        "name",
        "served_by",
        "backend",
        "tasks",
        "defaults",
        "sizes",
        "frames",
        "fps",
        "plan",
    }
