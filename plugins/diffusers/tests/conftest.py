from collections.abc import Iterator

import pytest

from framegate.plugins.diffusers.images.backend import ImagesBackend
from tests.support.tiny_models import AnyWanBackend, LoadTiny, TinyModel, loading


@pytest.fixture
def load_wan(tiny_model: TinyModel) -> Iterator[LoadTiny[AnyWanBackend]]:
    with loading(AnyWanBackend, tiny_model) as load:
        yield load


@pytest.fixture(scope="module")
def load_images(tiny_model: TinyModel) -> Iterator[LoadTiny[ImagesBackend]]:
    with loading(ImagesBackend, tiny_model) as load:
        yield load
