"""Schemathesis on every route of a server with keys, as its own OpenAPI document describes it."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, start_stand

KEY, WRONG_KEY = "fuzzer-0123456789abcdef", "no-such-key-0123456789"
few = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
"""Few requests for each route, and the same ones in every run: more are sent by the dialects' own tests."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server with one key, whose jobs succeed at once."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    folder = tmp_path_factory.mktemp("guarded")
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        # Results that can be converted to other formats.
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        stand = start_stand(
            running,
            folder,
            auth={"keys": [{"name": "fuzzer", "sha256": digest}]},
            limits={"address_failed_logins_per_minute": 0},  # there are more routes than that
        )
        with stand.working():
            yield stand


@pytest.fixture(scope="module")
def operations(guarded: Stand) -> list[Any]:
    """All operations of the document."""
    schema: Any = schemathesis.openapi.from_url(f"{guarded.url}/openapi.json")
    return [result.ok() for result in schema.get_all_operations()]


def names_key(operation: Any) -> bool:
    """Return whether the document says that the operation needs a key."""
    return bool(operation.definition.raw.get("security"))


def test_most_operations_need_a_key(operations: list[Any]) -> None:
    keyed = [operation for operation in operations if names_key(operation)]
    assert len(keyed) >= 35
    public = {operation.path for operation in operations if not names_key(operation)}
    assert public <= {
        "/health",
        "/ready",
        "/status",
        "/v1/files/{name}",
        "/v1/images/files/{name}",
        "/videos/{name}",
        "/view",
    }


def test_without_a_key_nothing_is_answered(guarded: Stand, operations: list[Any]) -> None:
    """Whatever is wrong with a request, the key is looked at first."""
    for operation in filter(names_key, operations):
        url = guarded.url + re.sub(r"\{\w+\}", "x", operation.path)
        answer = requests.request(
            operation.method, url, data="{", headers={"Authorization": f"Bearer {WRONG_KEY}"}, timeout=30
        )
        assert answer.status_code == 401, (operation.path, answer.text)
        assert WRONG_KEY not in answer.text


def test_with_a_key_no_request_is_a_server_error(operations: list[Any]) -> None:
    for operation in operations:

        @few
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            answer = case.call(timeout=30, headers={"Authorization": f"Bearer {KEY}"})
            assert answer.status_code < 500, (case.path, answer.text)
            assert answer.status_code != 401, (case.path, answer.text)
            assert KEY not in answer.text
            assert "Traceback" not in answer.text
            if answer.status_code >= 400 and case.method != "HEAD":
                assert isinstance(answer.json(), dict), answer.text

        send()
