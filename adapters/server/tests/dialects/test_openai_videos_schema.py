"""Schemathesis on the OpenAPI of openai-videos: no 5xx, and every error in its own format."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from tests.support.fuzzing import assert_openai_answers
from tests.support.http_stand import Stand

OPERATIONS = [
    ("POST", "/v1/videos"),
    ("GET", "/v1/videos"),
    ("GET", "/v1/videos/{video_id}"),
    ("DELETE", "/v1/videos/{video_id}"),
    ("GET", "/v1/videos/{video_id}/content"),
    ("POST", "/v1/videos/{video_id}/remix"),
    ("POST", "/v1/videos/edits"),
    ("POST", "/v1/videos/extensions"),
    ("POST", "/v1/videos/characters"),
    ("GET", "/v1/videos/characters/{character_id}"),
    ("DELETE", "/v1/videos/characters/{character_id}"),
]


@pytest.fixture(scope="module")
def api(shared_stand: Stand) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{shared_stand.url}/openapi.json")
    with shared_stand.working():
        yield schema


def test_every_operation_is_here(api: Any) -> None:
    found: list[tuple[str, str]] = []
    for result in api.include(tag="openai-videos").get_all_operations():
        operation = result.ok()
        if "/videos" in operation.path:
            found.append((operation.method.upper(), operation.path))
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_any_request(api: Any, method: str, path: str) -> None:
    assert_openai_answers(api[path][method])
