"""kill -9 in the middle: every job that was acknowledged ends, with one result."""

import os
import signal
from collections.abc import Callable
from typing import Any

import requests

from tests.support.running import RunningServer, eventually

StartServer = Callable[..., RunningServer]


def submit(server: RunningServer, prompt: str, **fields: Any) -> str:
    body = {"prompt": prompt, "width": 64, "height": 64, "video_duration": 0.5, **fields}
    answer = requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def status(server: RunningServer, task_id: str) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=30).json())


def all_succeeded(server: RunningServer, tasks: list[str]) -> bool:
    found = [status(server, task) for task in tasks]
    failed = [body for body in found if body["status"] == "failed"]
    assert not failed, failed
    return all(body["status"] == "succeed" for body in found)


def result_files(server: RunningServer) -> list[str]:
    folder = server.data_dir / "files" / "results"
    return sorted(path.parent.name for path in folder.glob("*/*") if path.is_file())


def test_worker_killed_in_the_middle_of_a_job(start_server: StartServer) -> None:
    server = start_server()
    task = submit(server, "a long one", width=640, height=480, video_duration=20)
    eventually(lambda: status(server, task)["progress"] > 0.05, what="progress")
    [worker] = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: all_succeeded(server, [task]), seconds=90, what="the end of the job")
    assert result_files(server) == [task]
    [job] = server.json("jobs", "list")
    assert job["attempt"] == 2
    [replacement] = server.worker_pids()
    assert replacement != worker
    assert list((server.data_dir / "work").iterdir()) == [], "nothing half-done stays behind"


def test_server_killed_with_50_queued_jobs(start_server: StartServer) -> None:
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(50)]
    server.kill()
    server.restart()
    eventually(lambda: all_succeeded(server, tasks), seconds=120, what="the end of all jobs")
    assert result_files(server) == sorted(tasks)


def test_everything_killed_at_once(start_server: StartServer) -> None:
    """kill -9 of server, worker and Valkey: what was acknowledged was written before."""
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(20)]
    valkey = next(line["pid"] for line in server.log_lines() if line["event"] == "valkey_started")
    for pid in (*server.worker_pids(), valkey):
        os.kill(pid, signal.SIGKILL)
    server.kill()
    server.restart()
    eventually(lambda: all_succeeded(server, tasks), seconds=60, what="the end of all jobs")
    assert result_files(server) == sorted(tasks)


def test_valkey_killed_while_a_job_runs(start_server: StartServer) -> None:
    """Nobody starts the embedded Valkey again but its server; until then callers are told to come back."""
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(5)]
    started = next(line for line in server.log_lines() if line["event"] == "valkey_started")
    os.kill(started["pid"], signal.SIGKILL)
    eventually(lambda: requests.get(server.url + "/ready", timeout=30).status_code == 200, what="recovery")
    eventually(lambda: all_succeeded(server, tasks), seconds=60, what="the end of all jobs")
    assert result_files(server) == sorted(tasks)


def test_stop_hands_the_running_job_back(start_server: StartServer) -> None:
    server = start_server(config='[server]\nshutdown_grace = "1s"\n')
    task = submit(server, "a long one", width=1280, height=704, video_duration=30)
    eventually(lambda: status(server, task)["progress"] > 0, what="progress")
    assert server.stop() == 0, server.log_text()
    server.restart()
    assert status(server, task)["status"] in ("submitted", "running")
    [job] = server.json("jobs", "list")
    assert job["attempt"] <= 1, "an attempt that was handed back does not count"
    requests.delete(f"{server.url}/v1/tasks/{task}", timeout=30)


def test_cancel_stops_a_running_job_and_the_next_starts(start_server: StartServer) -> None:
    server = start_server()
    long = submit(server, "a long one", width=1280, height=704, video_duration=60)
    following = submit(server, "the next one")
    eventually(lambda: status(server, long)["progress"] > 0, what="progress")
    answer = requests.delete(f"{server.url}/v1/tasks/{long}", timeout=30)
    assert answer.json()["stop_status"] == "success"
    eventually(lambda: status(server, long)["message"] == "cancelled", seconds=3, what="the cancel")
    eventually(lambda: all_succeeded(server, [following]), what="the next job")
    assert result_files(server) == [following]
