"""A server without keys on loopback: other sites' pages and other names of this machine get nowhere."""

from collections.abc import Iterator

import pytest
import requests

from tests.security.case import Case
from tests.security.cases import origins
from tests.security.conftest import Fortress, running_fortress


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """A server without keys."""
    with running_fortress(tmp_path_factory, "", arguments=["--no-worker"], ready="/health") as running:
        yield running


@pytest.mark.parametrize("case", origins.CASES, ids=str)
def test_foreign_page(open_server: Fortress, case: Case) -> None:
    answer = open_server.check(case)
    assert "access-control-allow-origin" not in answer.headers


def test_nothing_was_submitted(open_server: Fortress) -> None:
    videos = requests.get(f"{open_server.server.url}/v1/videos", timeout=60).json()
    assert videos["data"] == []
    assert requests.get(f"{open_server.server.url}/v1/tasks/", timeout=60).json() == {}
    open_server.check_log()
