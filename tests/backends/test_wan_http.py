"""Tiny Wan models behind a real server, with its own worker process, through the dialects that use them."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.support.decoding import decoded
from tests.support.running import RunningServer, eventually
from tests.support.tiny_models import TinyModel, tiny_model

__all__ = ["tiny_model"]

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
[dialects.lightx2v]
model = "quick"

[models.wan22]
source = "{ti2v}"

[models.wan21]
source = "{i2v}"

# The preset without its LoRA, which a test can't download.
[models.quick]
backend = "wan21"
source = "{i2v}"
preset = "distilled-4step"
options = {{ loras = [] }}

[models.remixing]
backend = "wan21-t2v"
source = "{t2v}"

[models.fragile]
source = "{ti2v}"
options = {{ vae_tiling = "off", mark = "{mark}" }}

[presets]
wan22-predict = {{ video = "wan22" }}
sora2api = {{ video = "remixing" }}

[aliases.small]
model = "sora2-landscape-10s"
defaults = {{ width = 96, height = 64, duration = 1.0, fps = 16.0, num_inference_steps = 2 }}

[aliases.small-fragile]
model = "fragile"
defaults = {{ width = 96, height = 64, num_frames = 9, num_inference_steps = 2 }}
"""
SMALL: dict[str, Any] = {"prompt": "a boat on a lake", "width": 64, "height": 64, "seed": 42}


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("wan")
    info = folder / "plugin" / "fragile_models-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framegate]\nfragile = tests.support.fragile_models\n")
    config = CONFIG.format(
        ti2v=tiny_model("wan22_ti2v"),
        i2v=tiny_model("wan21_i2v"),
        t2v=tiny_model("wan21_t2v"),
        mark=folder / "full",
    )
    running = RunningServer(
        folder / "data",
        config=config,
        environ={
            "PYTHONPATH": os.pathsep.join((str(info.parent), str(REPOSITORY))),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    try:
        yield running.wait_until_ready()
    finally:
        status = running.stop()
    assert status == 0, running.log_text()


def data_uri(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def predict(server: RunningServer, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    answer = requests.post(f"{server.url}/predict", json={**SMALL, **fields}, timeout=170)
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["video_base64"]), answer.json()["details"]


def test_predict_with_the_documents_defaults(wan: RunningServer) -> None:
    video, details = predict(wan)
    assert decoded(video) == (64, 64, 121, 24.0)
    assert details == {
        **SMALL,
        "negative_prompt": "",
        "num_frames": 121,
        "num_inference_steps": 50,
        "guidance_scale": 5.0,
        "fps": 24,
    }


SHORT = {"num_frames": 25, "num_inference_steps": 2}


def test_predict_uses_seed_and_image(wan: RunningServer, photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60, 80), "red").save(tmp_path / "red.png")
    first = predict(wan, **SHORT)[0]
    assert decoded(first) == (64, 64, 25, 24.0)
    assert predict(wan, **SHORT)[0] == first
    assert predict(wan, **{**SHORT, "seed": 43})[0] != first
    by_photo, by_red = (
        predict(wan, **SHORT, image_base64=data_uri(path))[0] for path in (photo, tmp_path / "red.png")
    )
    assert len({first, by_photo, by_red}) == 3


def test_predict_rounds_sizes_down_to_what_the_vae_needs(wan: RunningServer) -> None:
    video, details = predict(wan, **{**SHORT, "width": 120, "height": 90})
    assert (details["width"], details["height"]) == (96, 64)
    assert decoded(video)[:2] == (96, 64)


def submit(server: RunningServer, **fields: Any) -> str:
    answer = requests.post(f"{server.url}/v1/tasks/video", json={**SMALL, **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def finished(server: RunningServer, task_id: str) -> dict[str, Any]:
    def last_state() -> dict[str, Any] | None:
        now = requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=10).json()
        return now if now["end_time"] else None

    return eventually(last_state, seconds=170, what=f"the end of {task_id}")


@pytest.mark.parametrize("fragments", [1, 3])
def test_lightx2v_with_the_documents_defaults(wan: RunningServer, photo: Path, fragments: int) -> None:
    task_id = submit(wan, image_path=data_uri(photo), num_fragments=fragments)
    done = finished(wan, task_id)
    assert done["status"] == "succeed", done
    video = requests.get(f"{wan.url}/v1/tasks/{task_id}/result", timeout=10).content
    # Five seconds at sixteen frames.
    assert decoded(video) in ((64, 64, 81, 16.0), (64, 64, 80, 16.0))
    [job] = [job for job in wan.json("jobs", "list") if job["id"] == task_id]
    [shots] = [job["shots"]]
    assert len(shots) == fragments
    assert {(shot["num_inference_steps"], shot["guidance_scale"]) for shot in shots} == {(4, 1.0)}


def test_a_running_task_is_cancelled_within_a_step(wan: RunningServer, photo: Path) -> None:
    finished(wan, submit(wan, image_path=data_uri(photo), video_duration=0.5))  # the model is loaded
    task_id = submit(wan, image_path=data_uri(photo), video_duration=5, width=192, height=192)

    def denoising() -> bool:
        now = requests.get(f"{wan.url}/v1/tasks/{task_id}/status", timeout=10).json()
        assert not now["end_time"], "it has to run for longer than the test watches"
        return bool(now["progress"])

    eventually(denoising, what="the first step")
    requests.delete(f"{wan.url}/v1/tasks/{task_id}", timeout=10)
    assert finished(wan, task_id)["message"] == "cancelled"
    eventually(lambda: not any(info["job"] for info in wan.json("workers")), what="an idle worker")
    assert wan.json("jobs", "show", task_id)["progress"] < 0.8, "the fourth of four steps was not made"


def sora2api(server: RunningServer, path: str, **fields: Any) -> dict[str, Any]:
    """The last state of a task of the sora2api dialect."""
    answer = requests.post(f"{server.url}/v1/{path}", json={"async_mode": True, **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    url = f"{server.url}/v1/tasks/{answer.json()['task_id']}"

    def last_state() -> dict[str, Any] | None:
        state: dict[str, Any] = requests.get(url, timeout=10).json()
        return None if state["status"] == "processing" else state

    return eventually(last_state, seconds=170, what="the end of the task")


def latest_job(server: RunningServer) -> dict[str, Any]:
    job: dict[str, Any] = max(server.json("jobs", "list"), key=lambda job: job["created_at"])
    return job


def test_sora2api_generates_and_remixes(wan: RunningServer) -> None:
    first = sora2api(wan, "videos/generate", model="small", prompt="a boat")
    assert first["status"] == "completed", first
    target = latest_job(wan)["share_id"]
    remix = sora2api(wan, "videos/remix", model="small", prompt="at night", remix_target_id=target, seed=1)
    assert remix["status"] == "completed", remix
    job = latest_job(wan)
    assert job["shots"][0]["task"] == "video-to-video"
    assert job["artifacts"][0]["num_frames"] == 17


def test_running_out_of_memory_leaves_a_worker_that_serves_the_next_job(wan: RunningServer) -> None:
    pids = wan.worker_pids()
    mark = wan.data_dir.parent / "full"
    mark.touch()
    # Each is the next job of the one before, and gets further.
    for prompt, words in (
        ("load", "out of memory while loading the model"),
        ("denoise", "out of memory while denoising 96×64 with 9 frames"),
        ("decode", "out of memory while decoding 96×64 with 9 frames"),
    ):
        state = sora2api(wan, "videos/generate", model="small-fragile", prompt=prompt)
        assert state["status"] == "failed", state
        assert words in state["error_message"], state
        mark.unlink(missing_ok=True)
    state = sora2api(wan, "videos/generate", model="small-fragile", prompt="a boat")
    assert state["status"] == "completed", state
    assert wan.worker_pids() == pids, "by the same worker"
    assert any(line.get("event") == "model_evicted" for line in wan.log_lines()), "others were unloaded first"


def test_models_say_which_preset_runs(wan: RunningServer) -> None:
    served = {model["name"]: model for model in wan.json("models")}
    assert served["quick"]["defaults"]["num_inference_steps"] == 4
    assert served["Wan2.2-TI2V-5B"]["served_by"] == "wan22"
