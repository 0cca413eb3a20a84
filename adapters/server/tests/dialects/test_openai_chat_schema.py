"""Schemathesis on the OpenAPI of the chat dialects: no 5xx, and every error in their own format."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from tests.support.fuzzing import assert_openai_answers
from tests.support.http_stand import Stand

OPERATIONS = [
    ("POST", "/v1/images/generate"),
    ("POST", "/v1/images/transform"),
    ("POST", "/v1/videos/generate"),
    ("POST", "/v1/videos/transform"),
    ("POST", "/v1/videos/remix"),
    ("POST", "/v1/videos/storyboard"),
    ("POST", "/v1/characters/create"),
    ("POST", "/v1/characters/generate"),
    ("DELETE", "/v1/characters/{username}"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/tasks/{task_id}"),
    ("GET", "/v1/files/{name}"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id}"),
    ("GET", "/view"),
]


@pytest.fixture(scope="module")
def api(shared_stand: Stand) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{shared_stand.url}/openapi.json")
    with shared_stand.working():
        yield schema


def test_every_operation_is_here(api: Any) -> None:
    found: list[tuple[str, str]] = []
    for result in api.include(tag=["sora2api", "openai-chat"]).get_all_operations():
        operation = result.ok()
        found.append((operation.method.upper(), operation.path))
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_any_request(api: Any, method: str, path: str) -> None:
    assert_openai_answers(api[path][method])
