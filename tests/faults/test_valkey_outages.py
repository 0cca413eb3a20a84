"""Valkey is away, comes back, or has lost its last second: callers are told to come back, workers go on."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from framegate.storage.embedded import find_server
from framegate.storage.jobs.worker_store import LEASE_SECONDS, SILENCE_SECONDS
from tests.support.running import COMMAND, RunningServer, clean_environ, eventually, framegate, free_port
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]
CONFIG = '[queue]\nurl = "{url}"\n[presets]\nlightx2v = {{ video = "trouble" }}\n'


class Elsewhere:
    """A Valkey that somebody else runs, with its data in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen([find_server(), *options, *durable], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        eventually(lambda: _answers(client), what="Valkey")
        client.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def snapshot(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def restart_from(self, files: dict[Path, bytes]) -> None:
        """As after a power cut: what was written since is lost."""
        self.kill()
        for path in self.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for path, data in files.items():
            path.write_bytes(data)
        self.start()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Elsewhere]:
    elsewhere = Elsewhere(tmp_path / "valkey")
    yield elsewhere
    elsewhere.kill()


@pytest.fixture
def server(start_server: StartServer, valkey: Elsewhere, tmp_path: Path) -> RunningServer:
    return start_server(config=CONFIG.format(url=valkey.url), environ=trouble_environ(tmp_path / "plugin"))


def submit(server: RunningServer, prompt: str, seconds: float = 0.5) -> requests.Response:
    body = {"prompt": prompt, "width": 64, "height": 64, "video_duration": seconds}
    return requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=60)


def status(server: RunningServer, task_id: str) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=60).json())


def ended(server: RunningServer, task: str) -> str:
    def look() -> str | None:
        state = str(status(server, task).get("status"))
        return state if state in ("succeed", "failed", "cancelled") else None

    return eventually(look, seconds=60, what=f"the end of {task}")


def results(server: RunningServer, task: str) -> list[Path]:
    return list((server.data_dir / "files" / "results" / task).glob("*"))


def test_callers_are_told_to_come_back_and_the_running_job_is_reported_later(
    server: RunningServer, valkey: Elsewhere
) -> None:
    task = str(submit(server, "draw 100", seconds=3).json()["task_id"])
    eventually(lambda: status(server, task)["status"] == "running", what="the job's start")
    valkey.kill()
    started = time.monotonic()
    for refused in (
        submit(server, "draw 1"),
        requests.get(f"{server.url}/v1/tasks/{task}/status", timeout=60),
    ):
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
    assert time.monotonic() - started < 10
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
    assert requests.get(f"{server.url}/ready", timeout=60).status_code == 503
    # The worker finishes what it runs, and keeps the result until it can report it.
    eventually(lambda: results(server, task), what="the result while nobody can be told")
    valkey.start()
    assert ended(server, task) == "succeed"
    [job] = server.json("jobs", "list")
    assert job["attempt"] == 1
    assert requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=30).status_code == 200
    after = submit(server, "draw 1").json()["task_id"]
    assert ended(server, after) == "succeed"


def test_what_happened_in_the_lost_second_happens_again(server: RunningServer, valkey: Elsewhere) -> None:
    """A job that had ended is made once more, one that had been claimed goes back to the queue: its worker
    hears that it isn't its own any more, and gets it anew with the same number."""
    first, second = (str(submit(server, "draw 50", seconds=seconds).json()["task_id"]) for seconds in (3, 6))
    eventually(lambda: status(server, first)["status"] == "running", what="the first job's start")
    before = valkey.snapshot()
    eventually(lambda: status(server, second)["status"] == "running", what="the second job's start")
    valkey.restart_from(before)
    for task in (first, second):
        assert ended(server, task) == "succeed"
        assert requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=30).status_code == 200
    attempts = {job["id"]: job["attempt"] for job in server.json("jobs", "list")}
    assert attempts[first] in (1, 2)  # as its worker asks for it again before or after the lease is over
    assert attempts[second] == 1
    eventually(lambda: len(results(server, second)) == 1, what="a single result")
    assert ended(server, submit(server, "draw 1").json()["task_id"]) == "succeed"


def test_an_outage_of_more_than_a_lease_costs_no_attempt(
    start_server: StartServer, valkey: Elsewhere, tmp_path: Path
) -> None:
    server = start_server(
        config=CONFIG.format(url=valkey.url),
        arguments=["--processes", "3"],
        environ=trouble_environ(tmp_path / "plugin"),
    )
    tasks = [str(submit(server, "draw 100", seconds=14).json()["task_id"]) for _ in range(3)]
    eventually(
        lambda: [status(server, task)["status"] for task in tasks] == ["running"] * 3, what="three at once"
    )
    valkey.kill()
    time.sleep(LEASE_SECONDS + SILENCE_SECONDS)
    valkey.start()
    assert [ended(server, task) for task in tasks] == ["succeed"] * 3
    assert [job["attempt"] for job in server.json("jobs", "list")] == [1, 1, 1]


REFUSALS = {
    "memory is full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "it is a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "replicas are missing": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
}


@pytest.mark.parametrize(("begin", "end"), REFUSALS.values(), ids=list(REFUSALS))
def test_writes_that_are_refused(server: RunningServer, valkey: Elsewhere, begin: str, end: str) -> None:
    client = redis.Redis.from_url(valkey.url)
    task = str(submit(server, "draw 100", seconds=2).json()["task_id"])
    eventually(lambda: status(server, task)["status"] == "running", what="the job's start")
    client.execute_command(begin)  # type: ignore[no-untyped-call]  # untyped in redis-py
    drawing = {"prompt": "a boat", "size": "256x256"}
    for refused, body in (
        (submit(server, "draw 1"), ("detail",)),
        (
            requests.post(f"{server.url}/v1/images/generations", json=drawing, timeout=60),
            ("error", "message"),
        ),
    ):
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) > 0
        told = refused.json()
        for name in body:
            told = told[name]
        assert "takes no writes right now" in told
    eventually(lambda: results(server, task), what="the result while nobody can be told")
    eventually(lambda: "valkey_refuses" in server.log_text(), what="the worker's patience")
    time.sleep(LEASE_SECONDS)
    client.execute_command(end)  # type: ignore[no-untyped-call]  # untyped in redis-py
    client.close()
    assert ended(server, task) == "succeed"
    assert [job["attempt"] for job in server.json("jobs", "list")] == [1]
    assert ended(server, submit(server, "draw 1").json()["task_id"]) == "succeed"
    assert "Traceback" not in server.log_text()
    assert '"exception"' not in server.log_text()


def test_nobody_waits_long_for_a_valkey_that_hangs(
    start_server: StartServer, valkey: Elsewhere, tmp_path: Path
) -> None:
    server = start_server(config=f'[queue]\nurl = "{valkey.url}"\n[server]\nshutdown_grace = "2s"\n')

    def start_worker() -> "subprocess.Popen[bytes]":
        config = server.data_dir.with_suffix(".toml")
        return subprocess.Popen(
            [*COMMAND, "worker", "--config", config, "--data-dir", server.data_dir], env=clean_environ()
        )

    idle = start_worker()
    eventually(lambda: idle.pid in server.worker_pids(), what="the second worker")
    valkey.process.send_signal(signal.SIGSTOP)
    starting = start_worker()
    try:
        began = time.monotonic()
        assert submit(server, "a boat").status_code == 503
        assert time.monotonic() - began < 7
        for worker in (idle, starting):
            began = time.monotonic()
            worker.terminate()
            worker.wait(30)
            assert time.monotonic() - began < 10
    finally:
        valkey.process.send_signal(signal.SIGCONT)
        for worker in (idle, starting):
            worker.kill()
            worker.wait()
    assert ended(server, submit(server, "a boat").json()["task_id"]) == "succeed"


def test_what_works_behind_the_api_outlives_an_error_that_nobody_foresaw(
    start_server: StartServer, valkey: Elsewhere
) -> None:
    client = redis.Redis.from_url(valkey.url)
    client.set("fg:finished", "no sorted set")
    server = start_server(config=f'[queue]\nurl = "{valkey.url}"\n[storage]\nretention = "1s"\n')
    eventually(lambda: "background_task_failed" in server.log_text(), what="what the log says")
    client.delete("fg:finished")
    client.close()
    task = str(submit(server, "a boat").json()["task_id"])
    eventually(lambda: "files_removed" in server.log_text(), what="retention")
    assert not results(server, task)


def test_a_database_that_there_is_not(valkey: Elsewhere, tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(f'[queue]\nurl = "{valkey.url.removesuffix("0")}99"\n')
    for name in ("serve", "worker"):
        done = framegate(name, "--config", config, data_dir=tmp_path / "data")
        assert done.returncode == 1
        assert "queue.url: the server refuses it: DB index is out of range." in done.stderr
        assert "Traceback" not in done.stderr


def test_a_server_tries_on_until_its_valkey_starts_again(start_server: StartServer) -> None:
    """As on a full disk: it ends, and doesn't start until there is room."""
    server = start_server()
    before = next(line["pid"] for line in server.log_lines() if line["event"] == "valkey_started")
    (manifest,) = (server.data_dir / "valkey").rglob("*.manifest")
    kept = manifest.read_text()
    manifest.write_text("nothing that it understands")
    os.kill(before, signal.SIGKILL)

    def failures() -> int:
        return sum(line["event"] == "valkey_start_failed" for line in server.log_lines())

    eventually(lambda: failures() >= 2, what="two starts in vain")
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
    assert requests.get(f"{server.url}/ready", timeout=10).status_code == 503
    manifest.write_text(kept)
    server.wait_until_ready()
    assert "Traceback" not in server.log_text()
