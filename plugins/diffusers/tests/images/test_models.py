"""The specs of the image models."""

from typing import Any

import pytest

from framegate.core.fitting import fit
from framegate.core.types import GenerationRequest
from framegate.plugins.diffusers.images.models import IMAGES


@pytest.mark.parametrize("spec", IMAGES, ids=lambda spec: spec.id)
def test_defaults_are_within_the_limits(spec: Any) -> None:
    request = GenerationRequest(model=spec.id, task=min(spec.tasks), prompt="a ball")
    assert fit(spec, request).changes == ()
