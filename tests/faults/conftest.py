"""What several hosts share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from framegate.storage.embedded import find_server
from tests.support.running import free_port


@pytest.fixture
def queue_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey that somebody else runs."""
    port = free_port()
    command = [
        find_server(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(tmp_path),
        "--save",
        "",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as valkey:
        yield f"redis://127.0.0.1:{port}/0"
        valkey.terminate()
