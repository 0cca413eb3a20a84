import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.flat_model import flat_environ
from tests.support.running import RunningServer
from tests.support.shell import Shell
from tests.support.small_models import PRINTED_NAMES

PRINTED_KEYS = ("han1234", "YOUR_API_KEY", "your-api-key")

CONFIG = (
    PRINTED_NAMES
    + """
[presets]
wan22-predict = { video = "flat" }

[dialects.lightx2v]
auth = false

[dialects.wan22-predict]
prefix = "/v4/p-194bc83f/wan22-ti2v"

[aliases.brief]
model = "sora2-landscape-10s"
defaults = { width = 128, height = 96, duration = 1.0 }
"""
    + "".join(
        f'[[auth.keys]]\nname = "key{number}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        for number, key in enumerate(PRINTED_KEYS)
    )
)


@pytest.fixture(scope="package")
def document_server(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Iterator[RunningServer]:
    """A server as the documents' readers have it: with their keys, and an image in its input folder."""
    folder = tmp_path_factory.mktemp("documents")
    running = RunningServer(folder / "data", config=CONFIG, environ=flat_environ(folder / "plugin"))
    running.wait_until_ready()
    inputs = running.data_dir / "inputs"
    inputs.mkdir(exist_ok=True)
    shutil.copy(photo, inputs / "input_image.jpg")
    yield running
    assert running.stop() == 0, running.log_text()
    assert not any(key in running.log_text() for key in PRINTED_KEYS)


@pytest.fixture
def shell(tmp_path: Path, document_server: RunningServer) -> Shell:
    """A shell whose programs find the server and a key in the environment."""
    environ = {"FRAMEGATE_URL": document_server.url, "FRAMEGATE_API_KEY": PRINTED_KEYS[0]}
    return Shell(tmp_path, environ)


@pytest.fixture(scope="session")
def small_png(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photograph as a PNG that fits into a command line as base64."""
    path = tmp_path_factory.mktemp("small") / "small.png"
    with Image.open(photo) as image:
        image.resize((96, 64)).save(path)
    return path
