"""``/admin``: keys, over a socket."""

import hashlib
import time
from typing import Any

import pytest
import requests

from tests.support.http_stand import Stand, StandMaker

ADMIN = {"Authorization": "Bearer admin-key"}
USER = {"Authorization": "Bearer user-key"}


def key(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), **values}


@pytest.fixture
def guarded(make_stand: StandMaker) -> Stand:
    return make_stand(auth={"keys": [key("admin", scopes=["admin"]), key("user")]})


def send(stand: Stand, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    url = f"{stand.url}/admin/keys{path}"
    return requests.request(method, url, json=body, headers=headers or ADMIN, timeout=30)


def status_with(stand: Stand, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return requests.get(f"{stand.url}/v1/tasks/", headers=headers, timeout=30).status_code


def reaches(stand: Stand, secret: str, status: int) -> None:
    deadline = time.monotonic() + 60
    while status_with(stand, secret) != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_problem(answer: requests.Response, status: int, words: str) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body.keys() == {"type", "title", "status", "detail", "errors", "request_id"}
    assert (body["status"], body["request_id"]) == (status, answer.headers["X-Request-ID"])
    assert words in body["detail"]
    return body


def test_a_key_from_its_creation_to_its_end(guarded: Stand) -> None:
    created = send(guarded, "POST", "", {"name": "alice", "max_queued": 3, "models": ["lightx2v"]})
    assert created.status_code == 201
    assert created.headers["Cache-Control"] == "no-store"
    body = created.json()
    assert (body["name"], body["source"], body["max_queued"]) == ("alice", "stored", 3)
    secret = body.pop("secret")
    reaches(guarded, secret, 200)
    assert send(guarded, "GET", "/alice").json() == body
    listed = send(guarded, "GET", "").json()["items"]
    assert [item["name"] for item in listed] == ["admin", "user", "alice"]
    assert secret not in send(guarded, "GET", "").text
    rotated = send(guarded, "POST", "/alice/rotate", {"grace": 3600}).json()
    reaches(guarded, rotated["secret"], 200)
    assert status_with(guarded, secret) == 200
    last = send(guarded, "POST", "/alice/rotate", {}).json()
    reaches(guarded, last["secret"], 200)
    assert [status_with(guarded, old) for old in (secret, rotated["secret"])] == [401, 401]
    expired = send(guarded, "POST", "/alice/expire", {"expires_at": "2020-01-01T00:00:00Z"})
    assert expired.json()["expired"]
    reaches(guarded, last["secret"], 401)
    assert send(guarded, "POST", "/alice/expire", {"expires_at": None}).json()["expires_at"] is None
    reaches(guarded, last["secret"], 200)
    assert send(guarded, "DELETE", "/alice").status_code == 204
    reaches(guarded, last["secret"], 401)
    assert_problem(send(guarded, "GET", "/alice"), 404, "There is no key 'alice'")


def test_it_needs_the_scope(guarded: Stand) -> None:
    calls = [("GET", ""), ("POST", ""), ("GET", "/user"), ("POST", "/user/rotate"), ("DELETE", "/user")]
    for method, path in calls:
        refused = send(guarded, method, path, {}, **USER)
        assert_problem(refused, 403, "'user' may not do this: it needs the scope admin")
        for headers in ({"Authorization": "Bearer wrong"}, {"X-Nothing": "1"}):
            missing = send(guarded, method, path, {}, **headers)
            assert_problem(missing, 401, "API key")
            assert missing.headers["WWW-Authenticate"] == "Bearer"
    assert_problem(send(guarded, "GET", "/a/b/c"), 404, "Not Found")
    assert_problem(send(guarded, "PUT", ""), 405, "Method Not Allowed")
    assert [item["name"] for item in send(guarded, "GET", "").json()["items"]] == ["admin", "user"]


def test_an_admin_sees_jobs_of_its_own_only(make_stand: StandMaker) -> None:
    scopes = ["submit", "read", "admin"]
    stand = make_stand(auth={"keys": [key("admin", scopes=scopes), key("user")]})
    task = {"prompt": "x", "task_id": "mine"}
    assert requests.post(f"{stand.url}/v1/tasks/video", json=task, headers=USER, timeout=30).ok
    status = f"{stand.url}/v1/tasks/mine/status"
    assert requests.get(status, headers=USER, timeout=30).status_code == 200
    assert requests.get(status, headers=ADMIN, timeout=30).status_code == 404


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": "a b"}, "name"),
    ({"name": "a\n"}, "name"),
    ({"name": "."}, "name"),
    ({"name": ".."}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": "a", "max_running": -1}, "max_running"),
    ({"name": "a", "priority": 10**30}, "priority"),
    ({"name": "a", "requests_per_minute": 10**30}, "requests_per_minute"),
    ({"name": "a", "plan": "p" * 201}, "plan"),
    ({"name": "a", "scopes": ["root"]}, "scopes[0]"),
    ({"name": "a", "scopes": []}, "scopes"),
    ({"name": "a", "models": ["nothing"]}, "model"),
    ({"name": "a", "models": [""]}, "models[0]"),
    ({"name": "a", "models": ["lightx2v"] * 501}, "models"),
    ({"name": "a", "dialects": ["nothing"]}, "dialects"),
    ({"name": "a", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
    ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "a", "secret": "fg_mine"}, "secret"),
]


def test_what_is_wrong_with_a_new_key(guarded: Stand) -> None:
    for body, field in WRONG:
        problem = assert_problem(send(guarded, "POST", "", body), 422, "")
        assert [error["field"] for error in problem["errors"]] == [field], body
    assert len(send(guarded, "GET", "").json()["items"]) == 2


def test_other_refusals(guarded: Stand) -> None:
    assert_problem(send(guarded, "POST", "", {"name": "user"}), 409, "'user' is one of the config")
    assert_problem(send(guarded, "DELETE", "/user"), 409, "change it there")
    assert_problem(send(guarded, "POST", "/nobody/rotate", {}), 404, "There is no key 'nobody'")
    assert_problem(send(guarded, "POST", "/user/rotate", {"grace": -1}), 422, "grace")
    url = f"{guarded.url}/admin/keys"
    assert_problem(requests.post(url, data=b"{", headers=ADMIN, timeout=30), 400, "not valid JSON")
    form = requests.post(url, data={"name": "a"}, headers=ADMIN, timeout=30)
    assert_problem(form, 415, "application/json")
    send(guarded, "POST", "", {"name": "alice"})
    assert_problem(send(guarded, "POST", "", {"name": "alice"}), 409, "There is a key 'alice' already")


def test_without_keys_this_machine_administers(stand: Stand) -> None:
    assert requests.get(f"{stand.url}/admin/keys", timeout=30).json() == {"items": []}
    for foreign in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        refused = send(stand, "POST", "", {"name": "eve", "scopes": ["admin"]}, **foreign)
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:framegate:error:foreign_origin"
    created = requests.post(f"{stand.url}/admin/keys", json={"name": "alice"}, timeout=30)
    reaches(stand, "another-secret", 401)  # as soon as there is a key
    reaches(stand, created.json()["secret"], 200)
    assert requests.get(f"{stand.url}/admin/keys", timeout=30).status_code == 401


def test_it_is_documented(guarded: Stand) -> None:
    paths = requests.get(f"{guarded.url}/openapi.json", timeout=30).json()["paths"]
    operation = paths["/admin/keys"]["post"]
    assert operation["security"] == [{"bearer": []}]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
