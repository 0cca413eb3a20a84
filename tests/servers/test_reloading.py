"""SIGHUP reads the config again: what changes at once, and what goes on meanwhile."""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.running import RunningServer, eventually
from tests.support.tasks import SMALL
from tests.support.trouble import trouble_environ

ALICE, NEW_ALICE, BOB, CAROL = (f"a-key-of-{name}" for name in ("alice", "alice-too", "bob-000", "carol"))


def key(name: str, secret: str, more: str = "") -> str:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f'[[auth.keys]]\nname = "{name}"\nsha256 = "{digest}"\n{more}\n'


LIMITED = key("carol", CAROL, "requests_per_minute = 2")
BEFORE = f"""
[server]
shutdown_delay = "2s"
[dialects]
enabled = ["openai-chat", "lightx2v"]
[presets]
lightx2v = {{ video = "trouble" }}
{key("alice", ALICE)}{LIMITED}
"""
AFTER = f"""
[server]
max_connections = 7
shutdown_delay = "2s"
[worker]
memory = 123456
[dialects]
enabled = ["openai-chat", "lightx2v", "wan22-predict"]
[presets]
lightx2v = {{ video = "trouble" }}
[models.boats]
backend = "trouble"
[models.trouble]
defaults = {{ num_frames = 3 }}
{key("alice", NEW_ALICE)}{key("bob", BOB)}{LIMITED}
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plugins") / "trouble"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("reloading")
    running = RunningServer(folder / "data", config=BEFORE, environ=trouble_environ(plugin))
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()
    assert "Traceback" not in running.log_text()


def lines(server: RunningServer, event: str) -> list[dict[str, Any]]:
    return [line for line in server.log_lines() if line["event"] == event]


def reload(server: RunningServer, config: str, event: str = "config_reloaded") -> dict[str, Any]:
    """Change the config, and return what the server's own process logs of it."""
    server.config.write_text(config)

    def told() -> list[dict[str, Any]]:
        return [line for line in lines(server, event) if line["logger"].startswith("framegate.server")]

    before = len(told())
    server.process.send_signal(signal.SIGHUP)
    return eventually(lambda: told()[before:], what=event)[0]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def ask(server: RunningServer, secret: str, prompt: str, **fields: Any) -> requests.Response:
    body = {"prompt": prompt, **SMALL, **fields}
    return requests.post(f"{server.url}/v1/tasks/video", json=body, headers=bearer(secret), timeout=60)


def succeeds(server: RunningServer, secret: str, prompt: str, **fields: Any) -> None:
    answer = ask(server, secret, prompt, **fields)
    assert answer.status_code == 200, answer.text
    url = f"{server.url}/v1/tasks/{answer.json()['task_id']}/status"

    def status() -> str:
        return str(requests.get(url, headers=bearer(secret), timeout=60).json()["status"])

    eventually(lambda: status() in ("succeed", "failed"), what="the end of the job")
    assert status() == "succeed"


@contextmanager
def steady_requests(server: RunningServer) -> Generator[None]:
    """Send requests over a kept and over new connections while the block runs; all are answered."""
    done = threading.Event()

    def send() -> list[int]:
        statuses: list[int] = []
        with requests.Session() as session:
            while not done.wait(0.005):
                statuses.append(session.get(f"{server.url}/health", timeout=60).status_code)
                statuses.append(requests.get(f"{server.url}/ready", timeout=60).status_code)
        return statuses

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield
        finally:
            done.set()
        assert set(sending.result()) == {200}


def test_a_reload_changes_what_it_can_and_disturbs_nothing(server: RunningServer, plugin: Path) -> None:
    pids = server.worker_pids()
    succeeds(server, ALICE, "draw 1")
    for _ in range(2):
        requests.get(f"{server.url}/v1/models", headers=bearer(CAROL), timeout=60).raise_for_status()
    chat = {"model": "trouble", "messages": [{"role": "user", "content": "until reloaded"}], "stream": True}
    with requests.post(
        f"{server.url}/v1/chat/completions", json=chat, headers=bearer(ALICE), stream=True, timeout=60
    ) as stream:
        assert stream.status_code == 200, stream.text
        events = stream.iter_lines()
        next(events)
        eventually(lambda: lines(server, "job_started")[1:], what="the job of the stream")
        with steady_requests(server):
            told = reload(server, AFTER)
            assert told["changed"] == [
                "auth.keys",
                "dialects.enabled",
                "models.boats",
                "models.trouble",
            ]
            needs_restart = eventually(lambda: lines(server, "config_needs_restart"), what="the warning")
            assert ["server.max_connections", "worker.memory"] in [line["settings"] for line in needs_restart]
            for secret, status in ((ALICE, 401), (NEW_ALICE, 200), (BOB, 200), (CAROL, 429)):
                models = requests.get(f"{server.url}/v1/models", headers=bearer(secret), timeout=60)
                assert models.status_code == status
            assert requests.post(f"{server.url}/predict", timeout=60).status_code == 401
        (plugin / "reloaded").touch()
        rest = [json.loads(line[6:]) for line in events if line.startswith(b"data: {")]
    assert "error" not in rest[-1], rest[-1]
    assert rest[-1]["choices"][0]["finish_reason"] == "stop" or rest[-1]["choices"] == []
    # The worker goes on too: with the new model, and without loading what it has again.
    eventually(
        lambda: [line for line in lines(server, "config_reloaded") if "models" in line], what="its log"
    )
    chat = {"model": "boats", "messages": [{"role": "user", "content": "draw 1"}]}
    requests.post(
        f"{server.url}/v1/chat/completions", json=chat, headers=bearer(BOB), timeout=60
    ).raise_for_status()
    succeeds(server, NEW_ALICE, "draw 1")
    assert server.worker_pids() == pids
    assert [line["model"] for line in lines(server, "model_loading")] == ["trouble", "boats"]
    assert {job["attempt"] for job in server.json("jobs", "list")} == {1}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("[server]\nprot = 1\n", "prot"),
        ('[dialects]\nenabled = ["lightx3v"]\n', "lightx3v"),
        ('[aliases.a]\nmodel = "none"\n', "aliases.a"),
        (key("alice", ALICE) + key("bob", ALICE), "the same key"),
        ('[[auth.keys]]\nname = "dave"\nkey = { env = "NOT_SET_HERE" }\n', "NOT_SET_HERE"),
        ('[audit]\nfile = "/nowhere/at/all.log"\n', "audit.file"),
        ("[[[", "config"),
    ],
)
def test_a_wrong_config_changes_nothing(server: RunningServer, wrong: str, told: str) -> None:
    keys = {
        name: requests.get(f"{server.url}/v1/models", headers=bearer(name), timeout=60).status_code
        for name in (ALICE, NEW_ALICE, BOB)
    }
    reason = reload(server, wrong, "config_not_reloaded")["reason"]
    assert told in reason or told == "config"
    assert keys == {
        name: requests.get(f"{server.url}/v1/models", headers=bearer(name), timeout=60).status_code
        for name in keys
    }
    assert requests.get(f"{server.url}/ready", timeout=60).status_code == 200


def test_a_server_that_is_told_to_stop_says_so_before_it_stops(server: RunningServer) -> None:
    """It is the module's last test."""
    told_at = time.monotonic()
    server.terminate()

    def ready() -> tuple[int, str]:
        answer = requests.get(f"{server.url}/ready", timeout=10)
        return answer.status_code, answer.json().get("reason", "")

    eventually(lambda: ready() == (503, "The server is shutting down."), what="the readiness")
    server.terminate()  # again, which changes nothing
    assert requests.get(f"{server.url}/v1/models", headers=bearer(NEW_ALICE), timeout=10).status_code == 200
    assert server.process.wait(60) == 0
    assert time.monotonic() - told_at > 2.0, "the delay of the config"
