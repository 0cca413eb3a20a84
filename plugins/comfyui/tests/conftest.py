from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framegate.core.types import Shot
from tests.support.comfyui.backend_jobs import VIDEO_SHOT, BackendJob
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import LTX2_FILES, FakeComfyUI
from tests.support.comfyui.serving import REAL_URL, StartComfyUI, StartJob, config
from tests.support.comfyui.workflows import OPERATOR_WORKFLOWS, STILL_CHECKPOINT, UI_FORMAT, write
from tests.support.running import RunningServer

numbers = count()

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def photo() -> Path:
    """The photograph in the documentation."""
    return REPOSITORY / "docs" / "images" / "photo.jpg"


@pytest.fixture(scope="session")
def possible_fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeComfyUI | None]:
    """A fake that has all model files, or None for a real ComfyUI."""
    if REAL_URL:
        yield None
        return
    fake = FakeComfyUI(tmp_path_factory.mktemp("comfyui"))
    fake.install(LTX2_FILES)
    fake.install(STILL_CHECKPOINT)
    yield fake
    fake.stop()


@pytest.fixture(scope="session")
def comfyui(possible_fake: FakeComfyUI | None) -> ComfyUIClient:
    """The ComfyUI at ``COMFYUI_URL``, or the fake; for tests that leave it as it was."""
    return ComfyUIClient(possible_fake.url if possible_fake else REAL_URL)


@pytest.fixture
def fake(possible_fake: FakeComfyUI | None) -> Iterator[FakeComfyUI]:
    """The fake behind ``framegate``, for tests that leave it alive."""
    if possible_fake is None:
        pytest.skip("the test needs what only the fake has")
    yield possible_fake
    possible_fake.release()


@pytest.fixture(scope="session")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the operator's own workflows; ``broken`` was broken from the start."""
    return write(tmp_path_factory.mktemp("operator") / "workflows", broken=UI_FORMAT, **OPERATOR_WORKFLOWS)


@pytest.fixture(scope="session")
def framegate(
    comfyui: ComfyUIClient, workflows: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Framegate in front of that ComfyUI."""
    more = """
[presets]
lightx2v = { video = "weight_free", image = "text_to_image" }
[aliases.odd_ltx2]
model = "ltx2_landscape"
defaults = { width = 300, height = 200, num_frames = 20 }
"""
    running = RunningServer(
        tmp_path_factory.mktemp("framegate") / "data",
        config=config(comfyui.url, workflows=workflows, more=more),
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


@pytest.fixture
def start_comfyui(tmp_path: Path) -> Iterator[StartComfyUI]:
    """Start fakes for the test alone, which it may break."""
    if REAL_URL:
        pytest.skip("the test would break the real ComfyUI")
    started: list[FakeComfyUI] = []

    def start(name: str = "comfyui", **options: object) -> FakeComfyUI:
        fake = FakeComfyUI(tmp_path / name, **options)  # type: ignore[arg-type]  # options pass through
        started.append(fake)
        return fake

    yield start
    for fake in started:
        fake.stop()


@pytest.fixture
def start_job(photo: Path, tmp_path: Path) -> Iterator[StartJob]:
    """Start jobs of the backend in this process; they are stopped at the test's end."""
    started: list[BackendJob] = []

    def start(
        *fakes: FakeComfyUI,
        workflow: str = "weight_free",
        shot: Shot | None = None,
        server: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **table: object,
    ) -> BackendJob:
        servers = [{"url": fake.url, **(server or {})} for fake in fakes]
        number = next(numbers)  # for a seed, so that nothing is answered from the cache
        started.append(
            BackendJob(
                tmp_path / f"job-{number}",
                {"servers": servers, **table},
                workflow,
                shot or replace(VIDEO_SHOT, seed=number),
                **({"image": photo} if inputs is None else inputs),
            )
        )
        return started[-1]

    yield start
    for job in started:
        job.close()
