"""Fixtures for the tests of all plugins."""

from pathlib import Path

import pytest
from PIL import Image

from framegate.core.testing import gradient_png
from tests.support.offloading import fake_device
from tests.support.tiny_models import one_thread, tiny_model

__all__ = ["fake_device", "one_thread", "tiny_model"]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gradient_png(tmp_path_factory.mktemp("images") / "gradient.png")


@pytest.fixture(scope="session")
def other_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "red.png"
    Image.new("RGB", (96, 64), (200, 30, 40)).save(path)
    return path
