"""Models that keep the GIL, kill their worker, or end it at the worst moment: the right end each time."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil

from framegate.core.ports import WorkerInfo
from framegate.media.video.frames import read_frames
from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.worker_store import LEASE_SECONDS
from tests.support.listing import entries_of
from tests.support.running import RunningServer, eventually, is_alive, workers_of
from tests.support.tasks import all_succeed, download, ended, results, submit
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


def job(server: RunningServer, task_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = server.json("jobs", "show", task_id)
    return shown


def test_a_native_call_that_keeps_the_gil_keeps_its_job(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path, arguments=["--workers", "2"])
    held = LEASE_SECONDS + 4
    task = submit(server, f"hold {held:.0f}")
    started = time.monotonic()
    assert ended(server, task)["status"] == "succeed"
    assert time.monotonic() - started >= held, "the GIL was really kept"
    assert job(server, task)["attempt"] == 1
    assert len(results(server, task)) == 1
    assert "expired_leases_reclaimed" not in server.log_text()


def test_a_killed_server_leaves_no_process(start_server: StartServer, tmp_path: Path) -> None:
    """Or the next one's worker would share the device with one that nothing else ends."""
    server = start(start_server, tmp_path)
    submit(server, "fork-and-hold 3600")
    forked = tmp_path / "plugin" / "forked"
    eventually(forked.exists, what="the model's own process")
    [worker] = workers_of(server.process.pid)
    left = [psutil.Process(pid) for pid in (worker, *_children(worker))]
    assert int(forked.read_text()) in [process.pid for process in left]
    server.kill()
    eventually(lambda: not any(map(is_alive, left)), seconds=10, what="the end of all")


def test_kill_9_at_each_commit_point(start_server: StartServer, tmp_path: Path) -> None:
    """One server for each point, all at once: most of the time they wait for a lease to run out."""
    servers = {
        point: start(start_server, tmp_path / point, name=point, die_at=point, ready=None) for point in POINTS
    }
    tasks: dict[str, list[str]] = {}
    for point, server in servers.items():
        server.wait_until_ready()
        tasks[point] = [submit(server, "draw 5"), submit(server, "draw 5")]
    for point, server in servers.items():
        all_succeed(server, tasks[point])
        assert (tmp_path / point / "plugin" / "died").exists(), f"a worker came to the point {point}"
        attempts = sorted(job(server, task)["attempt"] for task in tasks[point])
        # The step that closes a job claims the next one.
        assert attempts == [1, 1 if point == "before claim" else 2], point
        for task in tasks[point]:
            video = tmp_path / f"{task}.mp4"
            video.write_bytes(download(server, task))
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
    body = ended(server, poison)
    assert body["status"] == "failed"
    assert "worker died 3 times" in body["message"]
    assert ended(server, good)["status"] == "succeed"


def test_a_worker_that_lost_its_lease_changes_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """Its host stands still for longer than a lease (as in a partition) and then goes on."""
    server = start(start_server, tmp_path, arguments=["--workers", "2"])
    eventually(lambda: len(server.worker_pids()) == 2, what="both workers")
    task = submit(server, "until the-first-is-back")
    first = eventually(lambda: _worker_of(server, task), what="a worker on the job")
    group = os.getpgid(first)  # with its process
    os.killpg(group, signal.SIGSTOP)
    try:
        eventually(lambda: _worker_of(server, task) not in (None, first), what="another worker")
    finally:
        os.killpg(group, signal.SIGCONT)
    (tmp_path / "plugin" / "the-first-is-back").touch()
    all_succeed(server, [task])
    assert job(server, task)["attempt"] == 2
    eventually(lambda: len(results(server, task)) == 1, what="a single result")
    eventually(lambda: not entries_of(server.data_dir / "work"), what="the end of the late worker's files")


def test_a_worker_starts_another_heartbeat_process(start_server: StartServer, tmp_path: Path) -> None:
    server = start(start_server, tmp_path)
    task = submit(server, "until it-is-replaced")
    worker = eventually(lambda: _worker_of(server, task), what="a worker on the job")
    [process] = _children(worker)
    os.kill(process, signal.SIGKILL)
    eventually(lambda: set(_children(worker)) - {process}, what="another process")
    (tmp_path / "plugin" / "it-is-replaced").touch()
    all_succeed(server, [task])
    assert job(server, task)["attempt"] == 1
    assert "heartbeat_process_ended" in server.log_text()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in entries_of(Path(f"/proc/{pid}/task")):
        with suppress(OSError):  # it has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


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
