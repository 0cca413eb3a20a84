from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.support.running import RunningServer
from tests.support.small_models import FETCHING, KEYS, SMALL_MODELS
from tests.support.web_folder import served_folder


@pytest.fixture(scope="session")
def pictures(photo: Path) -> Iterator[str]:
    """The address of a web server on loopback that has the photograph."""
    with served_folder(photo.parent) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="package")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for tests of several files, with `SMALL_MODELS`."""
    running = RunningServer(tmp_path_factory.mktemp("small") / "data", config=SMALL_MODELS)
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


GUARDED = (
    FETCHING
    + """
[dialects.wan21-submit]
prefix = "/v1"
[dialects.wan22-predict]
prefix = "/v4/PROJECT/APP"
"""
    + "".join(f'[[auth.keys]]\nname = "{name}"\nkey = {{ env = "{name.upper()}_KEY" }}\n' for name in KEYS)
)


@pytest.fixture(scope="package")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with `KEYS` and three workers, where two of the dialects have a prefix."""
    running = RunningServer(
        tmp_path_factory.mktemp("guarded") / "data",
        config=GUARDED,
        arguments=["--workers", "3"],
        environ={f"{name.upper()}_KEY": key for name, key in KEYS.items()},
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()
    assert not any(key in running.log_text() for key in KEYS.values())


@pytest.fixture
def client(server: RunningServer) -> Iterator[OpenAI]:
    """The official SDK for the server of the test's module."""
    with OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0, timeout=60) as client:
        yield client
