"""Jobs of the backend on servers that die, refuse, lack something or are busy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from framegate.core.types import Task
from framegate.plugins.comfyui import framegate_health
from tests.support.comfyui.backend_jobs import VIDEO_SHOT, BackendJob
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import LTX2_FILES, FakeComfyUI
from tests.support.comfyui.graphs import noisy_video
from tests.support.comfyui.serving import (
    REAL_URL,
    StartComfyUI,
    StartJob,
    difference,
    frames_of,
    submit_foreign_prompts,
)
from tests.support.comfyui.workflows import VIDEO_TO_VIDEO, write
from tests.support.running import eventually


@pytest.fixture(scope="module")
def module_fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[FakeComfyUI]]:
    if REAL_URL:
        pytest.skip("the test would break the real ComfyUI")
    fakes = [FakeComfyUI(tmp_path_factory.mktemp("fakes") / name) for name in ("one", "other")]
    yield fakes
    for fake in fakes:
        fake.stop()


@pytest.fixture
def fakes(module_fakes: list[FakeComfyUI]) -> Iterator[list[FakeComfyUI]]:
    """Two fakes, for tests that leave them alive."""
    yield module_fakes
    for fake in module_fakes:
        fake.release()


@pytest.fixture
def fake(fakes: list[FakeComfyUI]) -> FakeComfyUI:
    return fakes[0]


def succeeds(job: BackendJob, photo: Path) -> None:
    [file] = job.result()
    assert difference(frames_of(file.path.read_bytes()), photo) < 8


def test_comfyui_restarts_at_once(fake: FakeComfyUI, start_job: StartJob, photo: Path) -> None:
    fake.hold("CreateVideo")
    job = start_job(fake)
    fake.wait_until_held()
    fake.kill()
    fake.start()
    succeeds(job, photo)


def test_comfyui_dies_each_time(fake: FakeComfyUI, start_job: StartJob) -> None:
    fake.hold("CreateVideo")
    job = start_job(fake, tries=2, connect_timeout=2)
    for _ in range(2):
        fake.wait_until_held()
        fake.kill()
        fake.start(hold="CreateVideo")
    assert "ended or stopped responding 2 times" in job.error()


def test_a_job_fails_where_the_config_says_so(fake: FakeComfyUI, start_job: StartJob) -> None:
    fake.kill()
    assert "No ComfyUI server responds" in start_job(fake, when_down="fail").error()
    fake.start()


def test_a_waiting_job_is_cancelled(fake: FakeComfyUI, start_job: StartJob) -> None:
    fake.kill()
    job = start_job(fake)
    eventually(lambda: job.context.reports, what="the job's first report")
    job.cancel()
    assert job.is_cancelled()
    assert job.context.reports[0] == (0, 1, "waiting for ComfyUI")
    fake.start()


def test_a_cancelled_prompt_is_interrupted_whoever_notices_first(
    fake: FakeComfyUI, start_job: StartJob, photo: Path
) -> None:
    """A report inside the run notices the cancel, then the watch outside it does, during the clean-up."""
    fake.hold("CreateVideo")
    job = start_job(fake, inputs={"image": photo, "notice_in_report": True})
    fake.wait_until_held()
    fake.delay_requests("/queue", seconds=1)
    job.cancel()
    assert job.is_cancelled()
    [*_, submitted] = fake.requests("/prompt", "POST")
    entry = ComfyUIClient(fake.url).entry(submitted.body["prompt_id"])
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_graph_that_takes_too_long(fake: FakeComfyUI, start_job: StartJob) -> None:
    fake.hold("CreateVideo")
    error = start_job(fake, run_timeout=1).error()
    [*_, submitted] = fake.requests("/prompt", "POST")
    assert f"did not finish the prompt {submitted.body['prompt_id']} within 1 s" in error
    entry = ComfyUIClient(fake.url).entry(submitted.body["prompt_id"])
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_wrong_token(
    start_comfyui: StartComfyUI, start_job: StartJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = start_comfyui(token="let-me-in")
    monkeypatch.setenv("COMFY_TOKEN", "let-us-in")
    secret = {"token": {"env": "COMFY_TOKEN"}}
    with capture_logs() as logs:
        error = start_job(fake, server=secret).error()
        [finding] = framegate_health({"servers": [{"url": fake.url, **secret}]}, check_network=True)
    assert "denies access" in error
    assert "denies access" in finding
    assert "let-us-in" not in f"{error}{finding}{logs}"


def test_two_jobs_use_two_servers_at_once(fakes: list[FakeComfyUI], start_job: StartJob, photo: Path) -> None:
    for fake in fakes:
        fake.hold("CreateVideo")
    before = sum(len(fake.prompts()) for fake in fakes)
    jobs = [start_job(*fakes)]
    eventually(lambda: sum(len(fake.prompts()) for fake in fakes) > before, what="the first prompt")
    jobs.append(start_job(*fakes))
    for fake in fakes:
        fake.wait_until_held()
    for fake in fakes:
        fake.release()
    for job in jobs:
        succeeds(job, photo)


def test_the_less_loaded_of_two(fakes: list[FakeComfyUI], start_job: StartJob, photo: Path) -> None:
    busy, idle = fakes
    busy.hold()
    submit_foreign_prompts(ComfyUIClient(busy.url), photo, 2)
    before = len(idle.prompts())
    for _ in range(3):
        succeeds(start_job(busy, idle), photo)
    assert len(idle.prompts()) == before + 3
    idle.kill()
    busy.release()
    succeeds(start_job(busy, idle), photo)
    idle.start()


def test_a_job_moves_from_a_dead_server(fakes: list[FakeComfyUI], start_job: StartJob, photo: Path) -> None:
    before = [len(fake.prompts()) for fake in fakes]
    for fake in fakes:
        fake.hold("CreateVideo")
    job = start_job(*fakes, connect_timeout=2)

    def chosen() -> list[FakeComfyUI]:
        return [fake for fake, count in zip(fakes, before, strict=True) if len(fake.prompts()) > count]

    [dying] = eventually(chosen, what="its prompt")
    dying.wait_until_held()
    dying.kill()
    for fake in fakes:
        if fake is not dying:
            fake.release()
    succeeds(job, photo)
    dying.start()


LTX2_SHOT = replace(VIDEO_SHOT, width=128, height=64)


def test_a_server_without_the_models_is_passed_over(
    fakes: list[FakeComfyUI], start_comfyui: StartComfyUI, start_job: StartJob, photo: Path
) -> None:
    bare, _ = fakes
    equipped = start_comfyui("equipped")
    equipped.install(LTX2_FILES)
    equipped.hold("CreateVideo")
    submit_foreign_prompts(ComfyUIClient(equipped.url), photo, 1)
    equipped.wait_until_held()
    before = len(equipped.prompts()), len(bare.prompts())
    job = start_job(bare, equipped, workflow="ltx2_landscape", shot=LTX2_SHOT)
    eventually(lambda: len(equipped.prompts()) > before[0], what="the prompt")
    assert len(bare.prompts()) == before[1] + 1, "the idle server was tried first"
    equipped.release()
    [file] = job.result()
    assert len(frames_of(file.path.read_bytes())) == LTX2_SHOT.num_frames


@pytest.mark.parametrize("workflow", ["ltx2_landscape", "ltx2_portrait"])
def test_a_server_without_the_models(fake: FakeComfyUI, start_job: StartJob, workflow: str) -> None:
    """The graph is right but for the files, and the message lists just these."""
    error = start_job(fake, workflow=workflow, shot=LTX2_SHOT).error()
    assert error.startswith("ComfyUI lacks 4 model files")
    assert {file for file in LTX2_FILES.values() if file in error} == set(LTX2_FILES.values())
    assert error.count(".safetensors") == 4
    assert "(CheckpointLoaderSimple)" in error


def test_the_operator_s_file_is_run_instead_of_the_shipped_one(
    fake: FakeComfyUI, start_job: StartJob, tmp_path: Path
) -> None:
    graph = noisy_video("example.png")
    graph["3"]["_meta"]["title"] = "Length"
    graph["3"]["inputs"]["amount"] = 4
    workflows = str(write(tmp_path / "workflows", ltx2_landscape=graph))
    [file] = start_job(fake, workflow="ltx2_landscape", workflows=workflows).result()
    assert len(frames_of(file.path.read_bytes())) == 4


def test_a_video_goes_in(fake: FakeComfyUI, start_job: StartJob, photo: Path, tmp_path: Path) -> None:
    [source] = start_job(fake).result()
    workflows = str(write(tmp_path / "workflows", video_to_video=VIDEO_TO_VIDEO))
    inputs: dict[str, Any] = {"video": source.path}
    shot = replace(VIDEO_SHOT, task=Task.VIDEO_TO_VIDEO)
    job = start_job(fake, workflow="video_to_video", workflows=workflows, shot=shot, inputs=inputs)
    [file] = job.result()
    frames = frames_of(file.path.read_bytes())
    assert frames.shape == frames_of(source.path.read_bytes()).shape
    assert difference(frames, photo) < 8
