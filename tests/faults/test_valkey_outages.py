"""Valkey is away, comes back, or has lost its last second: callers are told to come back, workers go on."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from running import RunningServer, eventually, free_port
from trouble import trouble_environ

from framegate.adapters.stores.embedded import find_server

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
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
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
    assert time.monotonic() - started < 20
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
