"""Backends that sleep for an hour: their jobs end when they are cancelled or overdue, others go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.support.running import RunningServer, eventually, is_alive
from tests.support.trouble import trouble_environ

CONFIG = """
[worker]
cancel_grace = "2s"
[queue]
worker_grace = "1s"
[models.brief]
backend = "trouble"
timeout = "3s"
"""
ENDS_WITHIN = 15.0


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the plugin that makes trouble."""
    return tmp_path_factory.mktemp("trouble") / "plugin"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Iterator[RunningServer]:
    """A server with two workers, one of which is busy with a job that nothing may hurt."""
    server = RunningServer(
        tmp_path_factory.mktemp("limits") / "data",
        config=CONFIG,
        arguments=["--workers", "2"],
        environ=trouble_environ(plugin),
    )
    server.wait_until_ready()
    eventually(lambda: len(server.worker_pids()) == 2, what="both workers")
    unhurt = submit(server, "until go")
    state(server, unhurt, "running")
    yield server
    (plugin / "go").touch()
    assert state(server, unhurt, "succeeded")["attempt"] == 1
    assert server.stop() == 0
    assert "Traceback" not in server.log_text()


def submit(server: RunningServer, prompt: str, model: str = "trouble") -> str:
    body = {"model": model, "prompt": prompt, "seconds": "4"}
    answer = requests.post(f"{server.url}/v1/videos", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def state(server: RunningServer, job_id: str, wanted: str, *, seconds: float = 60.0) -> dict[str, Any]:
    """Return the job once it is in the state ``wanted``."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = server.json("jobs", "show", job_id)
        return job if job["state"] == wanted else None

    return eventually(look, seconds=seconds, what=f"the state {wanted}")


def worker_of(server: RunningServer, job_id: str) -> int:
    """Return the process that runs the job."""

    def look() -> int | None:
        return next((info["pid"] for info in server.json("workers") if info["job"] == job_id), None)

    return eventually(look, what="the job's worker")


def replaced(server: RunningServer, pid: int) -> None:
    """Wait until there are two workers again, none of which is the process ``pid``."""

    def look() -> bool:
        pids = server.worker_pids()
        return len(pids) == 2 and pid not in pids

    eventually(look, seconds=ENDS_WITHIN, what="another worker")


def test_what_a_killed_worker_has_started_ends_with_it(hosts: RunningServer, plugin: Path) -> None:
    job = submit(hosts, "fork-and-hold 3600", "brief")
    worker = worker_of(hosts, job)
    eventually((plugin / "forked").exists, what="the model's own process")
    forked = psutil.Process(int((plugin / "forked").read_text()))
    state(hosts, job, "failed", seconds=ENDS_WITHIN)
    replaced(hosts, worker)
    eventually(lambda: not is_alive(forked), seconds=5, what="its end")


@pytest.mark.parametrize(
    ("prompt", "how"), [("sleep 3600", "cancel"), ("hold 3600", "cancel"), ("hold 3600", "delete")]
)
def test_a_cancelled_job_ends_with_its_worker(hosts: RunningServer, prompt: str, how: str) -> None:
    """Whether the backend sleeps in Python, or in native code that holds the GIL."""
    job = submit(hosts, prompt)
    worker = worker_of(hosts, job)
    following = submit(hosts, "draw 5")
    if how == "cancel":
        assert hosts.run("jobs", "cancel", job).returncode == 0
        state(hosts, job, "cancelled", seconds=ENDS_WITHIN)
    else:
        assert requests.delete(f"{hosts.url}/v1/videos/{job}", timeout=60).status_code == 200
    assert state(hosts, following, "succeeded", seconds=ENDS_WITHIN)["attempt"] == 1
    replaced(hosts, worker)


@pytest.mark.parametrize("prompt", ["sleep 3600", "hold 3600"])
def test_an_overdue_job_ends_with_its_worker(hosts: RunningServer, prompt: str) -> None:
    job = submit(hosts, prompt, "brief")
    worker = worker_of(hosts, job)
    following = submit(hosts, "draw 5", "brief")
    assert state(hosts, job, "failed", seconds=ENDS_WITHIN)["error"]["message"] == (
        "The job took longer than 3 s, so it was ended. The server's operator can raise models.brief.timeout."
    )
    assert state(hosts, following, "succeeded", seconds=ENDS_WITHIN)["attempt"] == 1
    replaced(hosts, worker)


def test_an_overdue_job_that_reports_leaves_its_worker_alone(hosts: RunningServer) -> None:
    job = submit(hosts, "until never", "brief")
    workers = sorted(hosts.worker_pids())
    worker = worker_of(hosts, job)
    assert "longer than 3 s" in state(hosts, job, "failed", seconds=ENDS_WITHIN)["error"]["message"]
    eventually(lambda: not any(info["job"] == job for info in hosts.json("workers")), what="a free worker")
    state(hosts, submit(hosts, "draw 5"), "succeeded")
    assert sorted(hosts.worker_pids()) == workers
    assert worker in workers


def test_a_model_that_can_not_be_loaded_rests(hosts: RunningServer) -> None:
    """The free worker takes no more of its jobs and says why. The other has yet to find out."""
    jobs = [submit(hosts, "draw 5", "broken") for _ in range(4)]
    for job in jobs[:3]:
        assert state(hosts, job, "failed")["error"]["message"] == "Its weights are damaged."

    def resting() -> list[dict[str, str]]:
        return [info["resting"] for info in hosts.json("workers") if info["resting"]]

    assert eventually(resting, what="the announcement") == [{"broken": "Its weights are damaged."}]
    state(hosts, submit(hosts, "draw 5"), "succeeded")
    assert state(hosts, jobs[3], "queued")["attempt"] == 0
    assert hosts.run("jobs", "cancel", jobs[3]).returncode == 0
