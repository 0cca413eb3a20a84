"""Models that keep the GIL, kill their worker, or end it at the worst moment: the right end each time."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import requests

from framegate.core.ports import WorkerInfo
from framegate.media.video.frames import read_frames
from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.worker_store import LEASE_SECONDS
from tests.support.running import RunningServer, eventually
from tests.support.trouble import POINTS, trouble_environ

StartServer = Callable[..., RunningServer]
CONFIG = """
[server]
shutdown_grace = "1s"
[presets]
lightx2v = { video = "trouble" }
"""


def start(start_server: StartServer, folder: Path, **options: Any) -> RunningServer:
    environ = trouble_environ(folder / "plugin", die_at=options.pop("die_at", ""))
    return start_server(config=CONFIG, environ=environ, **options)


def submit(server: RunningServer, prompt: str, seconds: float = 0.5) -> str:
    body = {"prompt": prompt, "width": 64, "height": 64, "video_duration": seconds}
    answer = requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def status(server: RunningServer, task_id: str) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=30).json())


def ended(server: RunningServer, task_id: str, *, seconds: float = 60) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body = status(server, task_id)
        return body if body["status"] in ("succeed", "failed", "cancelled") else None

    return eventually(look, seconds=seconds, what=f"the end of {task_id}")


def job(server: RunningServer, task_id: str) -> dict[str, Any]:
    return next(job for job in server.json("jobs", "list") if job["id"] == task_id)


def test_a_native_call_that_keeps_the_gil_keeps_its_job(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path, arguments=["--processes", "2"])
    held = LEASE_SECONDS + 4
    task = submit(server, f"hold {held:.0f}")
    started = time.monotonic()
    assert ended(server, task)["status"] == "succeed"
    assert time.monotonic() - started >= held, "the GIL was really kept"
    assert job(server, task)["attempt"] == 1
    assert len(list((server.data_dir / "files" / "results" / task).iterdir())) == 1
    assert "jobs_of_dead_workers_taken" not in server.log_text()


def test_kill_9_at_each_commit_point(start_server: StartServer, tmp_path: Path) -> None:
    """One server for each point, all at once: most of the time they wait for a lease to run out."""
    servers = {
        point: start(start_server, tmp_path / point, name=point, die_at=point, ready=None) for point in POINTS
    }
    tasks: dict[str, list[str]] = {}
    for point, server in servers.items():
        server.wait_until_ready(seconds=90)
        tasks[point] = [submit(server, "draw 5"), submit(server, "draw 5")]
    for point, server in servers.items():
        for task in tasks[point]:
            assert ended(server, task)["status"] == "succeed", point
        assert (tmp_path / point / "plugin" / "died").exists(), f"a worker came to the point {point}"
        attempts = sorted(job(server, task)["attempt"] for task in tasks[point])
        assert attempts == [1, 1 if point in ("before claim", "after close") else 2], point
        for task in tasks[point]:
            answer = requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=30)
            assert answer.status_code == 200, point
            video = tmp_path / f"{task}.mp4"
            video.write_bytes(answer.content)
            assert list(read_frames(video)), point
        client = connect(socket_url(server.data_dir))
        assert client.zcard(f"{PREFIX}leases") == 0, point
        assert client.keys(f"{PREFIX}running:*") == [], point
        client.close()


def test_a_job_that_kills_its_worker_fails_after_three_attempts(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start(start_server, tmp_path)
    poison, good = submit(server, "die"), submit(server, "draw 5")
    body = ended(server, poison, seconds=90)
    assert body["status"] == "failed"
    assert "worker died 3 times" in body["message"]
    assert ended(server, good)["status"] == "succeed"


def test_a_worker_that_lost_its_lease_changes_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """Its host stands still for longer than a lease (as in a partition) and then goes on."""
    server = start(start_server, tmp_path, arguments=["--processes", "2"])
    eventually(lambda: len(server.worker_pids()) == 2, what="both workers")
    task = submit(server, "draw 200", seconds=6)
    first = eventually(lambda: _worker_of(server, task), what="a worker on the job")
    group = os.getpgid(first)  # with its process
    os.killpg(group, signal.SIGSTOP)
    try:
        eventually(lambda: _worker_of(server, task) not in (None, first), what="another worker")
    finally:
        os.killpg(group, signal.SIGCONT)
    assert ended(server, task)["status"] == "succeed"
    assert job(server, task)["attempt"] == 2
    results = server.data_dir / "files" / "results" / task
    eventually(lambda: len(list(results.iterdir())) == 1, what="a single result")
    eventually(
        lambda: not list((server.data_dir / "work").iterdir()), what="the end of the late worker's files"
    )


def test_a_worker_starts_another_pacemaker(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path)
    task = submit(server, "draw 150", seconds=5)
    worker = eventually(lambda: _worker_of(server, task), what="a worker on the job")
    [process] = _children(worker)
    os.kill(process, signal.SIGKILL)
    eventually(lambda: set(_children(worker)) - {process}, what="another process")
    assert ended(server, task)["status"] == "succeed"
    assert job(server, task)["attempt"] == 1
    assert "heartbeat_process_ended" in server.log_text()


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def _worker_of(server: RunningServer, job_id: str) -> int | None:
    """The process that runs the job, as its announcement says."""
    client = connect(socket_url(server.data_dir))
    try:
        names = cast("set[str]", client.smembers(f"{PREFIX}workers"))
        found = [client.get(f"{PREFIX}worker:{name}") for name in names]
    finally:
        client.close()
    infos = [msgspec.json.decode(text, type=WorkerInfo) for text in found if isinstance(text, str)]
    return next((info.pid for info in infos if info.job == job_id), None)
