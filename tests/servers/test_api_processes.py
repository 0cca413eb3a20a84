"""Several API processes on one port: one server to its clients, whichever of them answers."""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from tests.conftest import StartServer
from tests.support.external_valkey import ExternalValkey
from tests.support.in_process import run_command
from tests.support.ports import free_port
from tests.support.running import PATIENCE, RunningServer, clean_environ, eventually, framegate, workers_of
from tests.support.tasks import SMALL, reads_of_jobs
from tests.support.trouble import trouble_environ

CONFIG = """
[server]
api_processes = 2
[queue]
worker_grace = "forever"
[presets]
lightx2v = { video = "trouble" }
"""
TWO = ("--api-processes", "2")


def api_processes(server: RunningServer) -> list[int]:
    """Return the processes that answer requests."""
    found: list[int] = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if "--listener" in child.cmdline():
                found.append(child.pid)
    return found


def submit(server: RunningServer, prompt: str) -> str:
    body = {"prompt": prompt, **SMALL}
    answer = requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


class KeptConnection:
    """A connection that is kept open, so that one of the processes answers all its requests."""

    def __init__(self, server: RunningServer) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._connection.connect()
        self.headers: dict[str, str] = {}
        self.get("/health")

    def __del__(self) -> None:
        self._connection.close()

    @property
    def port(self) -> int:
        """The port at this end."""
        return int(self._connection.sock.getsockname()[1])

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and body."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and body."""
        content = {} if body is None else {"Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, {**self.headers, **content})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


def status(server: RunningServer, task: str, connection: KeptConnection | None = None) -> str:
    code, body = (connection or KeptConnection(server)).get(f"/v1/tasks/{task}/status")
    assert code == 200, body
    return str(body["status"])


def has_ended(server: RunningServer, task: str) -> bool:
    return status(server, task) in ("succeed", "failed")


def served_by(server: RunningServer, connection: KeptConnection) -> int:
    """Return which of the processes has a connection, or 0 if none has it."""
    for pid in api_processes(server):
        with suppress(psutil.NoSuchProcess):
            ends = psutil.Process(pid).net_connections(kind="tcp")
            if any(end.raddr and end.raddr[1] == connection.port for end in ends):
                return pid
    return 0


def connections_to_both(server: RunningServer) -> tuple[KeptConnection, KeptConnection]:
    """Return a kept connection to each of the processes."""
    found: dict[int, KeptConnection] = {}

    def connect() -> bool:
        connection = KeptConnection(server)
        if pid := served_by(server, connection):
            found.setdefault(pid, connection)
        return len(found) == 2

    eventually(connect, what="a connection to each process")
    one, other = found.values()
    return one, other


def reload(server: RunningServer, config: str, event: str) -> None:
    """Let the server read another config, and wait until it logs the event."""

    def events() -> int:
        return len([line for line in server.log_lines() if line["event"] == event])

    server.config.write_text(config)
    before = events()
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: events() > before, what=event)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plugins") / "trouble"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("processes")
    running = RunningServer(folder / "data", config=CONFIG, environ=trouble_environ(plugin))
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()
    assert "Traceback" not in running.log_text()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ExternalValkey]:
    running = ExternalValkey(tmp_path / "valkey")
    yield running
    running.kill()


def test_a_poll_shows_what_another_process_has_answered(server: RunningServer) -> None:
    one, other = connections_to_both(server)
    rank = {"submitted": 0, "running": 1, "succeed": 2, "failed": 3}
    for number in range(4):
        task, seen = submit(server, f"draw {number}"), 0
        while seen < 2:
            for connection in (one, other, one):
                state = rank[status(server, task, connection)]
                assert state >= seen, f"{state} after {seen}"
                seen = state
        assert seen == 2


def test_no_process_answers_from_memory_beside_another(server: RunningServer) -> None:
    """What one holds may be older than what the other has answered already."""
    one, _ = connections_to_both(server)
    task = submit(server, "draw 1")
    eventually(partial(has_ended, server, task), what="the end of the job")
    with connect(socket_url(server.data_dir)) as client:
        before = reads_of_jobs(client)
        for _ in range(30):
            status(server, task, one)
        assert reads_of_jobs(client) - before >= 30


def test_a_job_is_known_to_both_as_soon_as_it_is_acknowledged(server: RunningServer) -> None:
    one, other = connections_to_both(server)
    for asked, asking in ((one, other), (other, one)):
        _, accepted = asked.ask("POST", "/v1/tasks/video", {"prompt": "draw 1", **SMALL})
        status(server, accepted["task_id"], asking)


def test_a_killed_process_comes_back_and_loses_no_job(server: RunningServer) -> None:
    accepted: list[str] = []
    done = threading.Event()

    def keep_submitting() -> None:
        while not done.wait(0.02):
            with suppress(requests.ConnectionError):  # its connections are lost, and may be tried again
                accepted.append(submit(server, "draw 1"))

    workers = workers_of(server.process.pid)
    before = api_processes(server)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(keep_submitting)
        try:
            eventually(lambda: len(accepted) > 5, what="some jobs")
            os.kill(before[0], signal.SIGKILL)
            survived = len(accepted)
            eventually(lambda: len(accepted) > survived + 5, what="jobs that the other one accepts")
        finally:
            done.set()
        sending.result()
    eventually(lambda: before[0] not in (now := api_processes(server)) and len(now) == 2, what="another one")
    connections_to_both(server)
    assert workers_of(server.process.pid) == workers
    for task in accepted:
        eventually(partial(has_ended, server, task), what="the end of the job")
        assert status(server, task) == "succeed"
    ended = [line for line in server.log_lines() if line["event"] == "api_process_ended"]
    assert [(line["pid"], line["exit_code"]) for line in ended] == [(before[0], -signal.SIGKILL)]


def test_all_processes_serve_one_config(server: RunningServer) -> None:
    one, other = connections_to_both(server)

    def answers(path: str) -> set[int]:
        return {connection.get(path)[0] for connection in (one, other)}

    try:
        reload(server, CONFIG + '\n[dialects]\nenabled = ["lightx2v"]\n', "config_reloaded")
        eventually(lambda: answers("/api/v1/models") == {404}, what="the new config")
        reload(server, CONFIG + "\n[dialects]\nenabled = 7\n", "config_not_reloaded")
        assert answers("/api/v1/models") == {404}
        # Another process starts with the config in force, not with what the file has now.
        before = api_processes(server)
        os.kill(before[0], signal.SIGTERM)
        eventually(lambda: before[0] not in (now := api_processes(server)) and len(now) == 2)
        one, other = connections_to_both(server)
        assert answers("/api/v1/models") == {404}
    finally:
        reload(server, CONFIG, "config_reloaded")
    eventually(lambda: answers("/api/v1/models") == {200}, what="the first config")
    assert all(status(server, submit(server, "draw 1"), connection) for connection in (one, other))


def test_limits_hold_for_all_processes_together(server: RunningServer, tmp_path: Path) -> None:
    key = "a-key-of-some-length"
    limited = f"""
    [[auth.keys]]
    name = "alice"
    sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"
    requests_per_minute = 20
    """
    one, other = connections_to_both(server)
    reload(server, CONFIG + limited, "config_reloaded")
    try:
        for connection in (one, other):
            assert connection.get("/v1/models")[0] == 401
            connection.headers["Authorization"] = f"Bearer {key}"
        answers = [connection.get("/v1/models")[0] for _ in range(30) for connection in (one, other)]
    finally:
        reload(server, CONFIG, "config_reloaded")
    # Each process may hold a slice, which is one request of so low a limit.
    assert 18 <= answers.count(200) <= 22
    assert set(answers) == {200, 429}
    # The port is the server's own, although several processes share it.
    again = framegate("serve", "--port", str(server.port), *TWO, data_dir=tmp_path / "again")
    assert again.returncode == 1
    assert "Address already in use" in again.stderr


def test_processes_that_never_start_end_the_server(valkey: ExternalValkey, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--listener' in sys.orig_argv:\n    os._exit(3)\n"
    )
    config = tmp_path / "framegate.toml"
    config.write_text(f'[queue]\nurl = "{valkey.url}"')
    ended = framegate(
        *("serve", "--no-worker", "--port", str(free_port()), "--config", config, *TWO),
        data_dir=tmp_path / "data",
        environ={"PYTHONPATH": str(tmp_path)},
    )
    assert ended.returncode == 1
    assert "The API processes can't start" in ended.stderr
    assert "Traceback" not in ended.stderr
    ends = [json.loads(line) for line in ended.stderr.splitlines() if "api_process_ended" in line]
    assert len(ends) >= 2
    assert {line["exit_code"] for line in ends} == {3}


def test_the_old_option_says_what_it_may_mean(tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    done = run_command(["serve", "--processes", "3", *where], environ=clean_environ(), cwd=tmp_path)
    assert done.returncode == 2
    assert "--workers 3" in done.stderr
    assert "--api-processes 3" in done.stderr


def is_leaving(connection: KeptConnection) -> bool:
    return connection.get("/ready")[0] == 503


def test_a_delay_before_the_stop_is_cut_short_by_a_signal(start_server: StartServer, tmp_path: Path) -> None:
    config = CONFIG.replace("api_processes = 2", 'api_processes = 2\nshutdown_delay = "10m"')
    server = start_server(config=config, environ=trouble_environ(tmp_path / "trouble"))
    one, other = connections_to_both(server)
    task = submit(server, "until go")
    eventually(lambda: status(server, task, one) == "running", what="a running job")
    server.terminate()
    for connection in (one, other):
        eventually(partial(is_leaving, connection), what="the delay")
        assert connection.get("/health")[0] == 200
    server.process.send_signal(signal.SIGINT)  # the delay is over; the job may still finish
    eventually(lambda: "worker_stopping" in server.log_text(), what="the end of the delay")
    server.process.send_signal(signal.SIGINT)  # nothing is waited for
    assert server.process.wait(PATIENCE) == 0
    assert [line["state"] for line in server.log_lines() if line["event"] == "job_ended"] == ["queued"]
    assert "Traceback" not in server.log_text()


@pytest.fixture(scope="module")
def key(server: RunningServer) -> str:
    """A stored key; from then on the server wants one, so the tests with it come last."""
    return str(json.loads(server.run("keys", "create", "bob", "--json").stdout)["secret"])


def test_keys_are_known_to_both_soon_after_a_change(server: RunningServer, key: str) -> None:
    connections = connections_to_both(server)

    def all_answer(code: int) -> bool:
        return all(connection.get("/v1/models")[0] == code for connection in connections)

    eventually(lambda: all_answer(401), what="a server that wants a key")
    for connection in connections:
        connection.headers["Authorization"] = f"Bearer {key}"
    assert all_answer(200)
    other = json.loads(server.run("keys", "create", "carol", "--json").stdout)["secret"]
    for connection in connections:
        connection.headers["Authorization"] = f"Bearer {other}"
    eventually(lambda: all_answer(200), what="a key that both know")
    assert server.run("keys", "revoke", "carol").returncode == 0
    eventually(lambda: all_answer(401), what="a key that both refuse")


def test_a_stop_lets_a_job_and_those_who_wait_for_it_finish(server: RunningServer, key: str) -> None:
    """It is the last test of the module: the server has ended after it."""
    started = len([line for line in server.log_lines() if line["event"] == "job_started"])
    bearer = {"Authorization": f"Bearer {key}"}
    chat = {"model": "trouble", "messages": [{"role": "user", "content": "draw 20"}]}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            requests.post, f"{server.url}/v1/chat/completions", json=chat, headers=bearer, timeout=60
        )
        eventually(
            lambda: len([line for line in server.log_lines() if line["event"] == "job_started"]) > started
        )
        server.terminate()
        assert waiting.result().status_code == 200, waiting.result().text
    assert server.stop() == 0
    children = [line["pid"] for line in server.log_lines() if line["event"] == "worker_started"]
    assert not any(psutil.pid_exists(pid) for pid in children)
