"""Submissions."""

from typing import Any

import pytest

from framegate.core.ports import Base64Source, MediaSource
from framegate.core.submission import Submission
from framegate.core.types import GenerationRequest, Task


@pytest.mark.parametrize(
    ("details", "has_inputs"),
    [
        ({}, False),
        ({"remix_of": "s_" + "0" * 32}, True),
        ({"characters": ("anna",)}, True),
        ({"image": Base64Source("iVBORw0KGgo=")}, True),
        ({"mask": Base64Source("iVBORw0KGgo=")}, True),
        ({"video": Base64Source("AAAA")}, True),
    ],
)
def test_what_takes_time_is_known(details: dict[str, Any], has_inputs: bool) -> None:
    media = {name: details.pop(name) for name in ("image", "mask", "video") if name in details}
    request = GenerationRequest[MediaSource](model="x", task=Task.IMAGE_TO_VIDEO, prompt="x", **media)
    assert Submission(dialect="d", request=request, **details).has_inputs == has_inputs
