"""Keys: who owns which job, and when a body is read."""

import hashlib
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from framegate.core.errors import ConfigError, Unauthorized
from framegate.core.options import EnvSecret
from framegate.core.settings import KeyConfig
from framegate.server.auth.key_ring import KeyRing
from framegate.server.testing import DialectContract
from tests.support.http_stand import Stand, StandMaker


def key(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), **values}


KEYS = {"keys": [key("alice", plan="pro", max_queued=2), key("bob")]}
ALICE = {"Authorization": "Bearer alice-key"}
BOB = {"Authorization": "Bearer bob-key"}


@pytest.fixture
def guarded(make_stand: StandMaker) -> Stand:
    return make_stand(auth=KEYS)


def test_keys_carry_their_limits() -> None:
    ring = KeyRing([KeyConfig(**key("alice", plan="pro", max_queued=2, max_running=1))])
    client = ring.authenticate("bearer  alice-key")
    assert (client.name, client.plan, client.max_queued, client.max_running) == ("alice", "pro", 2, 1)


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = KeyConfig(name="eve", key=EnvSecret(env="EVE_KEY"))
    with pytest.raises(ConfigError, match="EVE_KEY"):
        KeyRing([config])
    monkeypatch.setenv("EVE_KEY", "schlüssel")
    ring = KeyRing([config])
    as_headers_are_read = "schlüssel".encode().decode("latin-1")
    assert ring.authenticate(f"Bearer {as_headers_are_read}").name == "eve"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "alice-key", "Bearer wrong"])
def test_bad_headers(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        KeyRing([KeyConfig(**key("alice"))]).authenticate(header)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/predict", "error"), ("/v1/tasks/video", "detail"), ("/v1/tasks/image/sync", "detail")],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_401(guarded: Stand, path: str, body: str, headers: dict[str, str]) -> None:
    answer = requests.post(guarded.url + path, data=b"not even json", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert set(answer.json()) == {body}


def test_the_body_is_not_waited_for(guarded: Stand) -> None:
    parts = urlsplit(guarded.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{")
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_public_paths_need_no_key(guarded: Stand) -> None:
    for path in ("/health", "/ready", "/docs", "/openapi.json", "/", "/predict-page/page.js"):
        assert requests.get(guarded.url + path, timeout=10).status_code == 200, path


def test_everyone_sees_their_own(guarded: Stand) -> None:
    url = f"{guarded.url}/v1/tasks"
    sent = {"prompt": "x", "task_id": "mine", "save_result_path": "cat.mp4"}
    assert requests.post(f"{url}/video", json=sent, headers=ALICE, timeout=10).ok
    guarded.run_next()
    paths = ("/mine/status", "/mine/result")
    for path in paths:
        assert requests.get(url + path, headers=ALICE, timeout=10).status_code == 200
        assert requests.get(url + path, headers=BOB, timeout=10).status_code == 404
    for name in ("cat.mp4", "outputs/videos/mine.mp4"):
        file = f"{guarded.url}/v1/files/download/{name}"
        assert requests.get(file, headers=ALICE, timeout=10).status_code == 200
        assert requests.get(file, headers=BOB, timeout=10).status_code == 404
    assert list(requests.get(f"{url}/", headers=ALICE, timeout=10).json()) == ["mine"]
    assert requests.get(f"{url}/", headers=BOB, timeout=10).json() == {}
    stopped = requests.delete(f"{url}/mine", headers=BOB, timeout=10).json()
    assert stopped["stop_status"] == "do_nothing"


def test_a_key_s_limit(guarded: Stand) -> None:
    url = f"{guarded.url}/v1/tasks/video"
    answers = [requests.post(url, json={"prompt": "x"}, headers=ALICE, timeout=10) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert "detail" in answers[2].json()
    assert requests.post(url, json={"prompt": "x"}, headers=BOB, timeout=10).ok


def test_a_dialect_may_be_open(make_stand: StandMaker) -> None:
    stand = make_stand({"lightx2v": {"auth": False}}, auth=KEYS)
    assert requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "t"}, timeout=10).ok
    assert stand.job("t").owner == ""
    assert requests.post(f"{stand.url}/predict", json={"prompt": "x"}, timeout=10).status_code == 401


def test_without_keys_any_header_is_accepted(stand: Stand) -> None:
    for headers in ({}, {"Authorization": "Bearer anything"}, {"Authorization": "nonsense"}):
        assert requests.get(f"{stand.url}/v1/tasks/", headers=headers, timeout=10).status_code == 200


class TestContractWithKeys(DialectContract):
    posts = ("/predict", "/v1/tasks/video", "/v1/tasks/image/sync")
    unknown_path = "/v1/tasks/a/b/c"
    api_key = "alice-key"

    @pytest.fixture
    def base_url(self, guarded: Stand) -> str:
        return guarded.url

    def is_error_body(self, body: Any) -> bool:
        return set(body) <= {"detail", "error", "errors"}
