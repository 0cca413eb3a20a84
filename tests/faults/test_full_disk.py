"""Hosts with no room left: a limit on the size of files stands for a full disk, both fail a write."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.listing import entries_of
from tests.support.running import RunningServer, eventually
from tests.support.tasks import results, submit

StartServer = Callable[..., RunningServer]

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux")


def limit_files(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size >= 0 else hard, hard))


def submit_large(server: RunningServer) -> str:
    return submit(server, "a boat", width=256, height=256, video_duration=1)


def ended(server: RunningServer, task: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = server.json("jobs", "show", task)
        return shown if shown["state"] in ("succeeded", "failed", "cancelled") else None

    return eventually(look, what="the end of the job")


def test_a_job_without_room_fails_and_says_so(start_server: StartServer) -> None:
    server = start_server()
    (worker,) = eventually(server.worker_pids, what="the worker")
    limit_files(worker, 2_000)
    full = ended(server, submit_large(server))
    assert (full["state"], full["error"]["code"]) == ("failed", "storage_full")
    assert "storage is full" in full["error"]["message"]
    assert not results(server), "nothing half-written is served"
    eventually(lambda: not entries_of(server.data_dir / "work"), what="the end of what is half-written")
    limit_files(worker, -1)
    assert ended(server, submit_large(server))["state"] == "succeeded", "the worker goes on"
    assert server.worker_pids() == [worker]


def test_an_input_without_room_is_refused(start_server: StartServer, photo: Path) -> None:
    server = start_server()
    decoders = eventually(lambda: found if len(found := server.decoders()) == 2 else None, what="decoders")
    writers = [server.process.pid, *(decoder.pid for decoder in decoders)]
    for pid in writers:
        limit_files(pid, 100_000)
    with photo.open("rb") as file:
        answer = requests.post(
            f"{server.url}/v1/tasks/video/form",
            data={"prompt": "waves"},
            files={"image_file": ("photo.jpg", file)},
            timeout=60,
        )
    for pid in writers:
        limit_files(pid, -1)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "storage is full" in answer.text
    assert str(server.data_dir) not in answer.text
    assert not list((server.data_dir / "work").glob("input-*"))
    assert server.json("jobs", "list") == []
