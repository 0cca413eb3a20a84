"""Two servers on one queue keep one limit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest
import requests

from framegate.storage.embedded import EmbeddedValkey
from tests.support.running import RunningServer

CONFIG = """
[[auth.keys]]
name = "alice"
key = { env = "ALICE_KEY" }
requests_per_minute = 60
[[auth.keys]]
name = "bob"
key = { env = "BOB_KEY" }
requests_per_minute = 60
"""
KEYS = {"ALICE_KEY": "a-key-of-alice-0001", "BOB_KEY": "a-key-of-bob-000002"}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("two")
    valkey = EmbeddedValkey(folder / "queue")
    valkey.start()
    environ = {**KEYS, "FRAMEGATE_QUEUE__URL": valkey.url}
    servers = [
        RunningServer(folder / "data", config=CONFIG, arguments=["--no-worker"], environ=environ)
        for _ in ("one", "two")
    ]
    yield [server.wait_until_ready("/health").url for server in servers]
    for server in servers:
        assert server.stop() == 0, server.log_text()
    valkey.stop()


def send(urls: list[str], key: str, requests_in_all: int) -> list[requests.Response]:
    """Send requests to the servers in turn, eight at a time."""

    def get(url: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {KEYS[key]}"}
        return requests.get(f"{url}/v1/tasks/task_none", headers=headers, timeout=30)

    targets = [url for url, _ in zip(cycle(urls), range(requests_in_all), strict=False)]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(get, targets))


def test_together_they_let_through_the_limit_and_no_more(urls: list[str]) -> None:
    answers = send(urls, "ALICE_KEY", 200)
    passed = sum(answer.status_code == 404 for answer in answers)
    assert 52 <= passed <= 60, "what one server holds, the other can't use"
    refused = [answer for answer in answers if answer.status_code == 429]
    assert passed + len(refused) == 200
    assert all(1 <= int(answer.headers["Retry-After"]) <= 61 for answer in refused)


def test_one_of_them_can_use_all_of_it(urls: list[str]) -> None:
    assert sum(answer.status_code == 404 for answer in send(urls[:1], "BOB_KEY", 100)) == 60
    assert {answer.status_code for answer in send(urls[1:], "BOB_KEY", 10)} == {429}
