"""A model's default negative prompt in every dialect that has the field; an empty one stays empty."""

from collections.abc import Mapping
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from framegate.core.models import Defaults
from tests.support import http_stand
from tests.support.http_stand import StandMaker

IMAGE = "https://example.com/cat.png"
CALLS: dict[str, Mapping[str, Any]] = {
    "/v1/tasks/video": {"prompt": "a boat"},
    "/v1/tasks/image": {"prompt": "a boat"},
    "/v1/videos": {"prompt": "a boat"},
    "/v1/images/generations": {"prompt": "a boat"},
    "/video/submit": {"prompt": "a boat at dawn", "image_url": IMAGE},
    "/api/v1/jobs": {"prompt": "a boat", "model": "sora-2"},
    "/predict": {"prompt": "a boat"},
}


def test_an_omitted_one_is_the_models_own_and_an_empty_one_stays_empty(
    make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(http_stand.MODEL, defaults=Defaults(negative_prompt="blurry"))
    monkeypatch.setattr(http_stand, "MODEL", model)
    stand = make_stand()
    used: dict[str, list[str]] = {}
    with stand.working():
        for path, body in CALLS.items():
            for fields in ({}, {"negative_prompt": ""}, {"negative_prompt": "rain"}):
                answer = requests.post(stand.url + path, json={**body, **fields}, timeout=20)
                assert answer.status_code < 300, answer.text
                used.setdefault(path, []).append(stand.jobs()[-1].shots[0].negative_prompt)
    assert used == {path: ["blurry", "", "rain"] for path in CALLS}
