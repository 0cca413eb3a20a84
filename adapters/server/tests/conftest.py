"""Fixtures with the HTTP app on in-memory ports, behind a real socket."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, StandMaker, start_stand


@pytest.fixture
def make_stand(tmp_path: Path) -> Iterator[StandMaker]:
    """Start the app on a free port: ``make_stand(options={"lightx2v": {...}}, auth={...}, max_queued=5)``."""
    with ExitStack() as running:
        yield partial(start_stand, running, tmp_path)


@pytest.fixture(scope="module")
def shared_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Return one stand for all tests of a module that don't disturb each other."""
    with ExitStack() as running:
        yield start_stand(running, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def stand(make_stand: StandMaker) -> Stand:
    return make_stand()


@pytest.fixture(scope="module")
def real_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let results be images that can be converted to other formats."""
    with pytest.MonkeyPatch.context() as patch:
        path = gradient_png(tmp_path_factory.mktemp("images") / "result.png")
        patch.setitem(CONTENT, MediaKind.IMAGE, path.read_bytes())
        yield
