from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.running import RunningServer

REPOSITORY = Path(__file__).parent.parent

StartServer = Callable[..., RunningServer]

# A strategy is not to blame for a busy machine.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def photo() -> Path:
    """The photograph that the project ships."""
    return REPOSITORY / "docs" / "images" / "photo.jpg"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave it as it was. URLs may lead to loopback."""
    running = RunningServer(
        tmp_path_factory.mktemp("server") / "data", config='[fetch]\nallow = ["127.0.0.1"]\n'
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers of one's own; they are stopped at the end."""
    started: list[RunningServer] = []

    def start(name: str = "data", *, ready: str | None = "/status", **options: object) -> RunningServer:
        running = RunningServer(tmp_path / name, **options)  # type: ignore[arg-type]  # options pass through
        started.append(running)
        return running if ready is None else running.wait_until_ready(ready)

    yield start
    for running in started:
        running.terminate()
    for running in started:
        running.stop()
