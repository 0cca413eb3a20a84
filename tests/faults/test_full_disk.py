"""Hosts with no room left: a limit on the size of files stands for a full disk, both fail a write."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.running import RunningServer, eventually

StartServer = Callable[..., RunningServer]

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux")


def limit_files(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size >= 0 else hard, hard))


def submit(server: RunningServer, **fields: object) -> str:
    body = {"prompt": "a boat", "width": 256, "height": 256, "video_duration": 1, **fields}
    answer = requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=30)
    return str(answer.json()["task_id"])


def ended(server: RunningServer, task: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = server.json("jobs", "show", task)
        return shown if shown["state"] in ("succeeded", "failed", "cancelled") else None

    return eventually(look, what="the end of the job")


def test_a_job_without_room_fails_and_says_so(start_server: StartServer) -> None:
    server = start_server()
    (worker,) = eventually(server.worker_pids, what="the worker")
    limit_files(worker, 2_000)
    full = ended(server, submit(server))
    assert (full["state"], full["error"]["code"]) == ("failed", "storage_full")
    assert "storage is full" in full["error"]["message"]
    results = server.data_dir / "files" / "results"
    assert not [path for path in results.rglob("*") if path.is_file()], "nothing half-written is served"
    assert not list((server.data_dir / "work").iterdir()), "nothing half-written is kept"
    limit_files(worker, -1)
    assert ended(server, submit(server))["state"] == "succeeded", "the worker goes on"
    assert server.worker_pids() == [worker]


def test_an_input_without_room_is_refused(start_server: StartServer, photo: Path) -> None:
    server = start_server()
    limit_files(server.process.pid, 100_000)
    with photo.open("rb") as file:
        answer = requests.post(
            f"{server.url}/v1/tasks/video/form",
            data={"prompt": "waves"},
            files={"image_file": ("photo.jpg", file)},
            timeout=30,
        )
    limit_files(server.process.pid, -1)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "storage is full" in answer.text
    assert str(server.data_dir) not in answer.text
    assert not list((server.data_dir / "work").glob("input-*"))
    assert server.json("jobs", "list") == []
