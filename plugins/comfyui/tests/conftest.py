import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.serving import config
from tests.support.comfyui.workflows import KIT, PICTURE, REDONE, write
from tests.support.running import RunningServer

REPOSITORY = Path(__file__).parents[3]

REAL_URL = os.environ.get("COMFYUI_URL", "").rstrip("/")

StartServer = Callable[..., RunningServer]
StartComfyUI = Callable[..., FakeComfyUI]


@pytest.fixture(scope="session")
def photo() -> Path:
    """The photograph that the project ships."""
    return REPOSITORY / "docs" / "images" / "photo.jpg"


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIClient]:
    """The ComfyUI at ``COMFYUI_URL``, or else the fake; for tests that leave it as it was."""
    if REAL_URL:
        yield ComfyUIClient(REAL_URL)
        return
    fake = FakeComfyUI(tmp_path_factory.mktemp("comfyui"))
    yield ComfyUIClient(fake.url)
    fake.stop()


@pytest.fixture(scope="session")
def framegate(comfyui: ComfyUIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Framegate before that ComfyUI, with a few workflows of the operator's own."""
    folder = tmp_path_factory.mktemp("framegate")
    workflows = write(folder / "workflows", kit=KIT, picture=PICTURE, redone=REDONE)
    presets = '[presets]\nlightx2v = { video = "weight_free", image = "picture" }\n'
    running = RunningServer(folder / "data", config=config(comfyui.url, workflows=workflows, more=presets))
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


@pytest.fixture
def start_comfyui(tmp_path: Path) -> Iterator[StartComfyUI]:
    """Start fakes of one's own, to be broken."""
    if REAL_URL:
        pytest.skip("it breaks the ComfyUI that it talks to")
    started: list[FakeComfyUI] = []

    def start(name: str = "comfyui", **options: object) -> FakeComfyUI:
        fake = FakeComfyUI(tmp_path / name, **options)  # type: ignore[arg-type]  # options pass through
        started.append(fake)
        return fake

    yield start
    for fake in started:
        fake.stop()


@pytest.fixture
def fake(start_comfyui: StartComfyUI) -> FakeComfyUI:
    return start_comfyui()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start Framegate servers of one's own; they are stopped at the end."""
    started: list[RunningServer] = []

    def start(name: str = "data", *, ready: str | None = "/ready", **options: object) -> RunningServer:
        running = RunningServer(tmp_path / name, **options)  # type: ignore[arg-type]  # options pass through
        started.append(running)
        return running if ready is None else running.wait_until_ready(ready)

    yield start
    for running in started:
        running.stop()
