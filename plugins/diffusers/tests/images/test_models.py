"""The specs of the image models."""

from typing import Any

import pytest
from msgspec.structs import replace

from framegate.core.fitting import fit
from framegate.core.types import GenerationRequest, Task
from framegate.plugins.diffusers.images.models import IMAGE, IMAGES


@pytest.mark.parametrize("spec", IMAGES, ids=lambda spec: spec.id)
def test_defaults_are_within_the_limits(spec: Any) -> None:
    request = GenerationRequest(model=spec.id, task=min(spec.tasks), prompt="a ball")
    assert fit(spec, request).changes == ()


@pytest.mark.parametrize("name", ["flux-schnell", "z-image-turbo"])
def test_what_was_distilled_is_never_guided(name: str) -> None:
    spec = IMAGE.with_preset(name)
    request = GenerationRequest(model=spec.id, task=Task.TEXT_TO_IMAGE, prompt="a ball")
    fitted = fit(spec, request)
    assert fitted.guidance_scale == 1.0
    assert fitted.num_inference_steps == {"flux-schnell": 4, "z-image-turbo": 8}[name]
    assert fit(spec, replace(request, guidance_scale=5.0)).guidance_scale == 1.0


@pytest.mark.parametrize("spec", IMAGES, ids=lambda spec: spec.id)
def test_every_preset_is_within_the_limits(spec: Any) -> None:
    for name in spec.presets:
        test_defaults_are_within_the_limits(spec.with_preset(name))
