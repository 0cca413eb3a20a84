"""API and workers that share only a queue's URL and a folder."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from tests.support.ports import free_port
from tests.support.running import RunningServer, clean_environ, eventually, running_worker
from tests.support.tasks import all_succeed, submit
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]


def test_two_apis_and_two_workers_share_a_queue(start_server: StartServer, queue_url: str) -> None:
    config = f'[queue]\nurl = "{queue_url}"\n'
    first = start_server("data", config=config, arguments=["--workers", "2"])
    second = start_server("data", config=config, arguments=["--no-worker"])
    eventually(lambda: len(first.worker_pids()) == 2, what="both workers")
    tasks = [submit(api, "a boat") for api in (first, second) * 5]
    all_succeed(second, tasks)


def test_workers_take_the_jobs_of_the_models_that_they_have(
    start_server: StartServer, tmp_path: Path, queue_url: str
) -> None:
    """Also where the models share a queue, as ComfyUI's workflows do."""
    environ = clean_environ({**trouble_environ(tmp_path / "plugin"), "FRAMEGATE_QUEUE__URL": queue_url})
    api = start_server(environ=environ, arguments=["--no-worker"], ready="/health")
    with ExitStack() as running:
        for model in ("left", "right"):
            running.enter_context(running_worker(api.data_dir, "--models", model, environ=environ))
        models = {
            worker["id"]: worker["models"]
            for worker in eventually(lambda: _workers(api, 2), what="both workers")
        }
        for model in ("left", "right", "right") * 3:
            body = {"model": model, "prompt": "draw 1", "async_mode": True}
            answer = requests.post(f"{api.url}/v1/videos/generate", json=body, timeout=60)
            assert answer.status_code == 200, answer.text
        jobs = eventually(lambda: _ended_jobs(api, 9), what="the end of all jobs")
    for job in jobs:
        assert job["state"] == "succeeded", job
        assert models[job["worker"]] == [job["served_by"]]


def _workers(api: RunningServer, count: int) -> list[dict[str, Any]] | None:
    workers: list[dict[str, Any]] = api.json("workers")
    return workers if len(workers) == count else None


def _ended_jobs(api: RunningServer, count: int) -> list[dict[str, Any]] | None:
    jobs: list[dict[str, Any]] = api.json("jobs", "list")
    return jobs if sum(job["finished_at"] is not None for job in jobs) == count else None


def test_worker_says_that_the_queue_cannot_be_reached_and_waits(tmp_path: Path) -> None:
    environ = clean_environ({"FRAMEGATE_QUEUE__URL": f"redis://127.0.0.1:{free_port()}/0"})
    log = tmp_path / "worker.log"
    with running_worker(tmp_path / "data", environ=environ, log=log) as worker:
        eventually(lambda: "valkey_unreachable" in log.read_text(), what="what the log says")
        worker.terminate()
        assert worker.wait(60) == 0
