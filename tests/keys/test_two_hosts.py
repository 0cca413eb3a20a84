"""Keys that operators change while two API hosts run, on one Valkey."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.external_valkey import ExternalValkey
from tests.support.running import RunningServer, eventually


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalValkey]:
    running = ExternalValkey(tmp_path_factory.mktemp("keys") / "valkey")
    yield running
    running.kill()


@pytest.fixture(scope="module")
def hosts(valkey: ExternalValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningServer]]:
    """Two API hosts without keys of their own: the second shares the first's Valkey and files alone."""
    config = f'[queue]\nurl = "{valkey.url}"\n'
    folder = tmp_path_factory.mktemp("shared") / "data"
    started = [RunningServer(folder, config=config, arguments=["--no-worker"]) for _ in ("one", "two")]
    yield [server.wait_until_ready("/health") for server in started]
    for server in started:
        server.stop()
        assert "fg_" not in server.log_text()


def status(server: RunningServer, secret: str = "") -> int:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return requests.get(f"{server.url}/v1/models", headers=headers, timeout=30).status_code


def all_answer(hosts: list[RunningServer], expected: int, secret: str = "") -> None:
    eventually(
        lambda: all(status(host, secret) == expected for host in hosts), what=f"{expected} on both hosts"
    )


def test_changes_reach_every_host(hosts: list[RunningServer]) -> None:
    one, two = hosts
    assert [status(host) for host in hosts] == [200, 200]
    assert status(one, "anything") == 200, "without keys, any is accepted"

    alice = one.json("keys", "create", "alice")["secret"]
    all_answer(hosts, 401)
    all_answer(hosts, 200, alice)
    assert [status(host, "anything") for host in hosts] == [401, 401]

    second = two.json("keys", "rotate", "alice", "--grace", "1h")["secret"]
    all_answer(hosts, 200, second)
    assert [status(host, alice) for host in hosts] == [200, 200]

    third = one.json("keys", "rotate", "alice")["secret"]
    all_answer(hosts, 200, third)
    assert [status(host, old) for host in hosts for old in (alice, second)] == [401] * 4

    one.json("keys", "expire", "alice", "--in", "0")
    all_answer(hosts, 401, third)
    two.json("keys", "expire", "alice", "--never")
    all_answer(hosts, 200, third)

    admin = one.json("keys", "create", "root", "--scope", "admin")["secret"]
    all_answer(hosts, 403, admin)
    with requests.Session() as http:
        http.headers["Authorization"] = f"Bearer {admin}"
        made = http.post(f"{one.url}/admin/keys", json={"name": "bob"}, timeout=30).json()["secret"]
        all_answer(hosts, 200, made)
        assert http.delete(f"{two.url}/admin/keys/bob", timeout=30).status_code == 204
    all_answer(hosts, 401, made)

    for name in ("alice", "root"):
        began = time.monotonic()
        one.json("keys", "revoke", name)
        all_answer(hosts, 401, third if name == "alice" else admin)
        print(f"{name} was refused {time.monotonic() - began:.2f} s after its revocation began")
    assert [status(host) for host in hosts] == [401, 401], "the last key's end opens nothing"
    assert one.json("keys", "list") == []


def test_while_valkey_is_away(hosts: list[RunningServer], valkey: ExternalValkey) -> None:
    one, two = hosts
    secret = one.json("keys", "create", "carol")["secret"]
    all_answer(hosts, 200, secret)
    valkey.kill()
    assert [status(one, secret), status(one, "wrong"), status(one)] == [200, 401, 401]
    # A host that starts meanwhile knows no key, nor whether one is needed.
    two.kill()
    two.restart(ready="/health")
    assert (status(two, secret), status(two)) == (503, 503)
    valkey.start()
    eventually(lambda: (status(two, secret), status(two)) == (200, 401), what="the keys")


def test_a_stored_key_lets_a_server_listen_elsewhere(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", arguments=["--no-worker", "--host", "0.0.0.0"])
    assert server.process.wait(60) == 1
    assert "or with `framegate keys create NAME`" in server.log_text()
    secret = server.json("keys", "create", "alice")["secret"]
    server.restart(ready="/health")
    assert (status(server, secret), status(server)) == (200, 401)
    foreign = {"Host": "video.example.com", "Authorization": f"Bearer {secret}"}
    assert requests.get(f"{server.url}/v1/models", headers=foreign, timeout=30).status_code == 200
    server.stop()
