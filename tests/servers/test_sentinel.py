"""A queue whose primary fails: the Sentinels name another, and jobs go on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import requests

from framegate.core.errors import ConfigError, Unavailable
from framegate.storage.connections import connect, connect_async, connect_once, outages_as_unavailable
from framegate.storage.endpoints import read_url
from framegate.storage.server_check import check_server
from tests.support.ports import free_port
from tests.support.running import RunningServer, eventually
from tests.support.sentinels import PASSWORD, SENTINEL_PASSWORD, WatchedPair
from tests.support.server_programs import server_program
from tests.support.tasks import all_succeed, ask_for_video, download, started, submit
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]


@pytest.fixture(params=["valkey", "redis"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WatchedPair]:
    found = WatchedPair(tmp_path / "pair", server_program(request.param))
    yield found
    found.close()


def test_jobs_go_on_after_the_primary_is_gone(
    pair: WatchedPair, start_server: StartServer, tmp_path: Path
) -> None:
    """What was acknowledged has reached the replica here, so all of it survives: done, running and
    waiting."""
    plugin = tmp_path / "plugin"
    server = start_server(
        config=f'[queue]\nurl = "{pair.url}"\n[presets]\nlightx2v = {{ video = "trouble" }}\n',
        environ=trouble_environ(plugin),
    )
    done = submit(server, "draw 1")
    all_succeed(server, [done])
    running = submit(server, "until the-other-is-there")
    started(server, running)
    waiting = submit(server, "draw 1")
    pair.fail_over()
    (plugin / "the-other-is-there").touch()
    all_succeed(server, [done, running, waiting])
    assert download(server, done)
    eventually(lambda: ask_for_video(server, "draw 1").ok, what="a new job")
    assert requests.get(f"{server.url}/ready", timeout=60).ok
    jobs = server.json("jobs", "list")
    assert {job["attempt"] for job in jobs} == {1}
    assert PASSWORD not in server.log_text()
    assert SENTINEL_PASSWORD not in server.log_text()
    [queue] = [line for line in server.json("doctor") if line["subject"] == "queue"]
    assert queue["ok"], queue


def test_clients_leave_a_primary_that_stands_still(tmp_path: Path) -> None:
    """Its connections stay open. What it says later isn't the answer to another call."""
    pair = WatchedPair(tmp_path / "pair", server_program("valkey"))
    client = connect(pair.url)
    try:
        client.mset({"one": "first", "other": "second"})
        pair.let_hang()
        with pytest.raises(redis.TimeoutError):
            client.get("one")
        assert client.get("one") == "first"
        pair.replica.suspend()
        with pytest.raises(redis.TimeoutError):
            client.get("one")
        pair.replica.resume()
        assert client.get("other") == "second"
    finally:
        client.close()
        pair.close()


def test_wrong_passwords_are_said_at_the_start(tmp_path: Path) -> None:
    pair = WatchedPair(tmp_path / "pair", server_program("valkey"))
    try:
        with connect_once(pair.url) as client:
            assert check_server(client, "fg:").name.startswith("Valkey ")
        with connect_once(pair.url.replace(f":{PASSWORD}@", ":wrong@")) as client:
            with pytest.raises(ConfigError, match=r"queue\.url: the server refuses the user name") as raised:
                check_server(client, "fg:")
            assert "wrong" not in raised.value.message
        with (
            connect_once(pair.url.replace(f"={SENTINEL_PASSWORD}", "=wrong")) as client,
            pytest.raises(Unavailable),
            outages_as_unavailable(),
        ):
            check_server(client, "fg:")
    finally:
        pair.close()


async def test_without_any_sentinel_the_queue_cannot_be_reached() -> None:
    url = f"sentinel://127.0.0.1:{free_port()}/films/0"
    with connect(url) as client, pytest.raises(Unavailable), outages_as_unavailable():
        client.get("a")
    async with connect_async(url) as api:
        with pytest.raises(Unavailable), outages_as_unavailable():
            await api.get("a")


def test_how_the_address_is_read() -> None:
    found = read_url(
        "sentinels://alice:p%40ss@a.internal,b.internal:5000,[::1]:5001/films/3"
        "?sentinel_username=watch&sentinel_password=w&ssl_min_version=772&socket_timeout=7"
    )
    assert found.sentinels == (("a.internal", 26379), ("b.internal", 5000), ("::1", 5001))
    assert found.service == "films"
    assert found.sentinel_options == {"username": "watch", "password": "w"}
    assert found.options == {
        "username": "alice",
        "password": "p@ss",
        "db": 3,
        "ssl": True,
        "ssl_min_version": 772,
        "socket_timeout": 7.0,
    }


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://a.internal",
        "sentinel:///films",
        "sentinel://a.internal:secret/films",
        "sentinel://,/films/0",
        "redis://host:secret/0",
        "http://host",
    ],
)
def test_addresses_that_cannot_be_read(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^queue\.url: this is not a URL such as redis://") as raised:
        read_url(url)
    assert "secret" not in raised.value.message
