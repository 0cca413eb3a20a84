"""Who may read the pages that describe the server, and the headers that every answer has."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from framegate.core.errors import Unavailable
from tests.support.http_stand import Stand, StandMaker

KEY = "a-key-of-alice-000"
OPERATOR = "a-key-of-the-operator"
AUTH: Mapping[str, Any] = {
    "keys": [
        {"name": "alice", "sha256": hashlib.sha256(KEY.encode()).hexdigest()},
        {"name": "operator", "sha256": hashlib.sha256(OPERATOR.encode()).hexdigest(), "scopes": ["admin"]},
    ]
}
PAGES = (
    "/docs",
    "/docs/",
    "/docs/docs.js",
    "/docs/swagger-ui.css",
    "/openapi.json",
    "/docs/schema",
    "/docs/schema/openapi.json",
)


def status(stand: Stand, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.get(stand.url + path, headers=headers, timeout=20).status_code


def test_without_keys_docs_for_keys_are_open(make_stand: StandMaker) -> None:
    stand = make_stand(server={"docs": "keys"})
    assert status(stand, "/docs") == status(stand, "/openapi.json") == 200


def test_with_keys_they_need_one(make_stand: StandMaker) -> None:
    stand = make_stand(server={"docs": "keys"}, auth=AUTH)
    before = [status(stand, path) for path in PAGES]
    assert set(before) == {401}
    assert {status(stand, path, "wrong") for path in PAGES} == {401}
    refused = requests.get(f"{stand.url}/openapi.json", timeout=20)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.json()["code"] == "unauthorized"
    found = {path: status(stand, path, KEY) for path in PAGES}
    assert found.pop("/docs/schema") == found.pop("/docs/schema/openapi.json")
    assert set(found.values()) == {200}


@pytest.mark.parametrize("auth", [{}, AUTH], ids=["no keys", "keys"])
def test_closed_docs_are_nowhere(make_stand: StandMaker, auth: Mapping[str, Any]) -> None:
    stand = make_stand(server={"docs": "off"}, auth=auth)
    assert {status(stand, path) for path in PAGES} == {404}
    assert {status(stand, path, KEY) for path in PAGES} == {404}
    assert status(stand, "/health") == 200


@pytest.mark.parametrize("docs", ["open", "keys", "off"])
def test_probes(make_stand: StandMaker, docs: str) -> None:
    """Anybody learns whether the server can take requests; the rest is for those who may read the docs.

    The operator may read it whatever the setting.
    """
    stand = make_stand(server={"docs": docs}, auth=AUTH)
    assert requests.get(f"{stand.url}/health", timeout=20).json() == {"status": "ok"}
    stand.artifacts.outage = Unavailable("The bucket is away.")
    ready = requests.get(f"{stand.url}/ready", timeout=20)
    reason = {"reason": "The bucket is away."} if docs == "open" else {}
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", **reason})
    assert status(stand, "/status") == (503 if docs == "open" else 401)
    assert status(stand, "/status", KEY) == (403 if docs == "off" else 503)
    assert status(stand, "/status", OPERATOR) == 503


def test_every_answer_forbids_sniffing(shared_stand: Stand) -> None:
    job = requests.post(f"{shared_stand.url}/v1/tasks/video", json={"prompt": "<b>x</b>"}, timeout=20)
    answers = [
        job,
        requests.get(f"{shared_stand.url}/v1/tasks/{job.json()['task_id']}/status", timeout=20),
        requests.get(f"{shared_stand.url}/v1/models", timeout=20),
        requests.get(f"{shared_stand.url}/nothing", timeout=20),
        requests.post(f"{shared_stand.url}/v1/videos", data=b"{", timeout=20),
        requests.get(f"{shared_stand.url}/docs", timeout=20),
        requests.get(f"{shared_stand.url}/openapi.json", timeout=20),
        requests.head(f"{shared_stand.url}/health", timeout=20),
        requests.options(f"{shared_stand.url}/v1/videos", timeout=20),
        requests.get(shared_stand.url + "/health", headers={"Host": "evil.example"}, timeout=20),
    ]
    with shared_stand.working():
        image = requests.post(f"{shared_stand.url}/v1/tasks/image/sync", json={"prompt": "x"}, timeout=20)
    assert image.status_code == 200
    assert answers[-1].status_code == 403
    for answer in (*answers, image):
        assert answer.headers["X-Content-Type-Options"] == "nosniff", answer.url
