"""Models that never finish loading, and jobs that want more memory than their worker may take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.support.running import RunningServer, eventually
from tests.support.tasks import all_succeed, ended, submit
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]
CONFIG = """
[worker]
load_timeout = "8s"
host_memory = 1_500_000_000
[presets]
lightx2v = { video = "trouble" }
"""


def test_limits_cost_one_job_each(start_server: StartServer, tmp_path: Path) -> None:
    """The worker lives on after the one, and is replaced after the other."""
    server = start_server(config=CONFIG, environ=trouble_environ(tmp_path / "plugin"))
    hungry, modest = submit(server, "eat 4000"), submit(server, "draw 5")
    body = ended(server, hungry)
    assert body["status"] == "failed"
    assert "Out of memory; lower the resolution" in body["message"]
    [worker] = server.worker_pids()
    all_succeed(server, [modest])
    assert server.worker_pids() == [worker]

    body = {"model": "slow", "prompt": "draw 5", "seconds": "4"}
    answer = requests.post(f"{server.url}/v1/videos", json=body, timeout=60)
    assert answer.status_code == 200, answer.text

    def failed() -> dict[str, Any] | None:
        job: dict[str, Any] = server.json("jobs", "show", answer.json()["id"])
        return job if job["state"] == "failed" else None

    error = eventually(failed, what="the end of the job")["error"]
    assert "Loading the model took longer than 8 s" in error["message"]
    assert "worker.load_timeout" in error["message"]
    eventually(lambda: set(server.worker_pids()) - {worker}, what="another worker")
    all_succeed(server, [submit(server, "draw 5")])
    assert "job_timed_out" in server.log_text()
