"""kill -9 in the middle: every job that was acknowledged ends, with one result."""

import os
import signal
import time
from collections.abc import Callable

import requests

from tests.support.listing import entries_of
from tests.support.running import RunningServer, eventually
from tests.support.tasks import all_succeed, ended, results, status, submit

StartServer = Callable[..., RunningServer]

LONG_AGO = time.time() - 86_400


def jobs_with_results(server: RunningServer) -> list[str]:
    return sorted(path.parent.name for path in results(server))


def remove_unreported_files(server: RunningServer) -> None:
    """Have retention remove what a worker had stored, but not yet reported, when it was killed."""
    assert server.stop() == 0
    for path in results(server):
        os.utime(path, (LONG_AGO, LONG_AGO))
    server.restart()


def test_worker_killed_in_the_middle_of_a_job(start_server: StartServer) -> None:
    server = start_server()
    task = submit(server, "a long one", width=640, height=480, video_duration=20)
    eventually(lambda: status(server, task)["progress"] > 0.05, what="progress")
    [worker] = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    all_succeed(server, [task])
    assert jobs_with_results(server) == [task]
    [job] = server.json("jobs", "list")
    assert job["attempt"] == 2
    [replacement] = server.worker_pids()
    assert replacement != worker
    eventually(lambda: not entries_of(server.data_dir / "work"), what="the end of what was half-done")


def test_server_killed_with_50_queued_jobs(start_server: StartServer) -> None:
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(50)]
    server.kill()
    server.restart()
    all_succeed(server, tasks)
    remove_unreported_files(server)
    eventually(lambda: jobs_with_results(server) == sorted(tasks), what="one result of each job")


def test_everything_killed_at_once(start_server: StartServer) -> None:
    """kill -9 of server, worker and Valkey: what was acknowledged was written before."""
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(20)]
    server.kill_all("worker_started")
    server.kill_all("valkey_started")
    server.kill()
    server.restart()
    all_succeed(server, tasks)
    remove_unreported_files(server)
    eventually(lambda: jobs_with_results(server) == sorted(tasks), what="one result of each job")


def test_valkey_killed_while_a_job_runs(start_server: StartServer) -> None:
    """Nobody starts the embedded Valkey again but its server; until then callers are asked to retry."""
    server = start_server()
    tasks = [submit(server, f"boat {index}") for index in range(5)]
    os.kill(server.pid_of("valkey_started"), signal.SIGKILL)
    server.wait_until_ready()
    all_succeed(server, tasks)
    assert jobs_with_results(server) == sorted(tasks)


def test_stop_hands_the_running_job_back(start_server: StartServer) -> None:
    server = start_server(config='[server]\nshutdown_grace = "1s"\n')
    task = submit(server, "a long one", width=1280, height=704, video_duration=30)
    eventually(lambda: status(server, task)["progress"] > 0, what="progress")
    assert server.stop() == 0, server.log_text()
    server.restart()
    assert status(server, task)["status"] in ("submitted", "running")
    [job] = server.json("jobs", "list")
    assert job["attempt"] <= 1, "an attempt that was handed back does not count"
    requests.delete(f"{server.url}/v1/tasks/{task}", timeout=60)


def test_cancel_stops_a_running_job_and_the_next_starts(start_server: StartServer) -> None:
    server = start_server()
    long = submit(server, "a long one", width=1280, height=704, video_duration=60)
    following = submit(server, "the next one")
    eventually(lambda: status(server, long)["progress"] > 0, what="progress")
    answer = requests.delete(f"{server.url}/v1/tasks/{long}", timeout=60)
    assert answer.json()["stop_status"] == "success"
    assert ended(server, long)["message"] == "cancelled"
    all_succeed(server, [following])
    assert jobs_with_results(server) == [following]
    assert server.json("jobs", "show", long)["progress"] < 0.9, "it did not run to its end before"
