from pathlib import Path

import pytest

from framegate.plugins.diffusers import testing
from tests.support.tiny_models import TinyModel


@pytest.fixture(scope="session")
def models(tiny_model: TinyModel) -> Path:
    """The folder of LTX-2's tiny models; the distilled one has an upsampler in it."""
    for name in ("ltx2", "ltx23"):
        tiny_model(name)
    distilled = tiny_model("ltx2_distilled")
    testing.save("latent_upsampler", distilled / "latent_upsampler")
    return distilled.parent
