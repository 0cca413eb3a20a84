"""Models that operators load and unload while a server with two workers runs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.running import RunningServer, eventually
from tests.support.trouble import trouble_environ

CONFIG = """
[worker]
load_timeout = "3s"
[models.brief]
backend = "trouble"
unload_after = "1s"
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the plugin that makes trouble."""
    return tmp_path_factory.mktemp("trouble") / "plugin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Iterator[RunningServer]:
    server = RunningServer(
        tmp_path_factory.mktemp("models") / "data",
        config=CONFIG,
        arguments=["--workers", "2"],
        environ=trouble_environ(plugin),
    )
    server.wait_until_ready()
    eventually(lambda: len(server.worker_pids()) == 2, what="both workers")
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log_text()


def model(server: RunningServer, name: str) -> dict[str, Any]:
    items = requests.get(f"{server.url}/admin/models", timeout=60).json()["items"]
    return next(item for item in items if item["id"] == name)


def on_workers(server: RunningServer, name: str, state: str) -> list[dict[str, Any]]:
    """Return a model on both workers once it is in that state there, and nothing is pending."""

    def look() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = model(server, name)["on_workers"]
        reached = all(each["state"] == state and each["pending"] is None for each in found)
        return found if len(found) == 2 and reached else None

    return eventually(look, what=f"the state {state} of {name}")


def request(server: RunningServer, name: str, what: str) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/admin/models/{name}/{what}", timeout=60)
    assert answer.status_code == 200, answer.text
    status: dict[str, Any] = answer.json()
    return status


def submit(server: RunningServer, prompt: str, name: str) -> str:
    body = {"model": name, "prompt": prompt, "seconds": "4"}
    answer = requests.post(f"{server.url}/v1/videos", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def wait_for(server: RunningServer, job_id: str, state: str) -> None:
    eventually(lambda: server.json("jobs", "show", job_id)["state"] == state, what=f"the state {state}")


def loads_of(server: RunningServer, name: str) -> int:
    return sum(line["event"] == "model_loading" and line["model"] == name for line in server.log_lines())


def test_a_model_is_loaded_before_its_first_job(server: RunningServer) -> None:
    on_workers(server, "left", "unloaded")
    assert server.run("models", "load", "left").returncode == 0
    on_workers(server, "left", "loaded")
    wait_for(server, submit(server, "draw 0", "left"), "succeeded")
    assert loads_of(server, "left") == 2, "once by each worker, and not for the job"


def test_a_worker_that_starts_later_loads_it_as_well(server: RunningServer) -> None:
    workers = server.worker_pids()
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: workers[0] not in server.worker_pids(), what="its end")
    on_workers(server, "left", "loaded")
    assert loads_of(server, "left") == 3


def test_a_running_job_keeps_its_model(server: RunningServer, plugin: Path) -> None:
    job = submit(server, "until go", "right")
    wait_for(server, job, "running")
    assert [each["state"] for each in model(server, "right")["on_workers"]].count("loaded") == 1
    waiting = request(server, "right", "unload")["on_workers"]
    [busy] = [each for each in waiting if each["state"] == "loaded"]
    assert busy["pending"] == "unload"
    request(server, "trouble", "load")
    (plugin / "go").touch()
    wait_for(server, job, "succeeded")
    on_workers(server, "right", "unloaded")
    on_workers(server, "trouble", "loaded")
    wait_for(server, submit(server, "draw 0", "right"), "succeeded")


def test_a_model_without_jobs_sleeps(server: RunningServer) -> None:
    for _ in range(2):
        wait_for(server, submit(server, "draw 0", "brief"), "succeeded")
        on_workers(server, "brief", "unloaded")
    assert loads_of(server, "brief") == 2
    on_workers(server, "left", "loaded")


def test_a_failure_is_shown_and_hurts_nobody(server: RunningServer) -> None:
    workers = server.worker_pids()
    request(server, "broken", "load")
    found = on_workers(server, "broken", "failed")
    assert {each["reason"] for each in found} == {"Its weights are damaged."}
    assert sorted(server.worker_pids()) == sorted(workers)
    request(server, "broken", "unload")
    on_workers(server, "broken", "unloaded")


def test_a_load_that_ends_its_worker_is_not_repeated(server: RunningServer) -> None:
    """One kills its process, the other takes longer than a model may."""
    workers = server.worker_pids()
    for name in ("fatal", "slow"):
        request(server, name, "load")
    eventually(lambda: model(server, "fatal")["load_problem"], what="the end of the first request")
    eventually(lambda: model(server, "slow")["load_problem"], what="the end of the second request")
    assert not {*workers} & {*server.worker_pids()}
    for name in ("fatal", "slow"):
        on_workers(server, name, "unloaded")
        status = model(server, name)
        assert status["load_requested_at"] is None
        assert "ended while it loaded the model" in status["load_problem"]
        assert loads_of(server, name) <= 4, "twice by each worker, if they begin together"
    on_workers(server, "left", "loaded")


def test_a_worker_that_loads_can_be_stopped(server: RunningServer) -> None:
    request(server, "slow", "load")
    eventually(lambda: model(server, "slow")["on_workers"][0]["state"] == "loading", what="the load")
    killed = server.log_text().count("worker_killed")
    assert server.stop() == 0
    assert server.log_text().count("worker_killed") == killed
    assert "worker_shutdown_timed_out" not in server.log_text()
