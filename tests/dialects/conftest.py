import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import RunningServer

# Names of the catalogue, small enough to be made in no time.
SMALL_MODELS = """
[fetch]
allow = ["127.0.0.1"]

[aliases.small]
model = "sora2-landscape-10s"
defaults = { width = 128, height = 96, duration = 1.0 }

[aliases.small-25s]
model = "sora2-landscape-25s"
defaults = { width = 128, height = 96 }

[aliases.small-chat]
model = "ltx2_landscape"
defaults = { width = 128, height = 96, num_frames = 17 }

[aliases.endless]
model = "sora2-landscape-25s"
defaults = { num_inference_steps = 1000 }
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's name
        return


@pytest.fixture(scope="session")
def pictures(photo: Path) -> Iterator[str]:
    """The address of a web server on loopback that has the photograph."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(photo.parent))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small models: "small" and "small-25s" speak sora2api, "small-chat" openai-chat."""
    running = RunningServer(tmp_path_factory.mktemp("small") / "data", config=SMALL_MODELS)
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()
