import pytest

from framegate.plugins.diffusers.images.backend import ImagesBackend
from tests.support.tiny_models import LoadTiny


@pytest.fixture(scope="module", params=["sdxl", "qwen_image"])
def backend(load_images: LoadTiny[ImagesBackend], request: pytest.FixtureRequest) -> ImagesBackend:
    return load_images(str(request.param))
