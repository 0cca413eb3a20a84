"""API and workers that share only a queue's URL and a folder."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from tests.support.running import COMMAND, RunningServer, clean_environ, eventually, free_port
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]


def test_two_apis_and_two_workers_share_a_queue(start_server: StartServer, queue_url: str) -> None:
    config = f'[queue]\nurl = "{queue_url}"\n'
    first = start_server("data", config=config, arguments=["--processes", "2"])
    second = RunningServer(first.data_dir.parent / "other", config=config, arguments=["--no-worker"])
    try:
        second.wait_until_ready()
        eventually(lambda: len(first.worker_pids()) == 2, what="both workers")
        body = {"prompt": "a boat", "width": 64, "height": 64, "video_duration": 0.5}
        tasks = [
            requests.post(f"{api.url}/v1/tasks/video", json=body, timeout=30).json()["task_id"]
            for api in (first, second) * 5
        ]

        def ended() -> bool:
            found = requests.get(f"{second.url}/v1/tasks", timeout=30).json()
            return all(found[task]["status"] == "succeed" for task in tasks)

        eventually(ended, what="the end of all jobs")
    finally:
        second.stop()


def test_workers_take_the_jobs_of_the_models_that_they_have(
    start_server: StartServer, tmp_path: Path, queue_url: str
) -> None:
    """Also where the models share a queue, as ComfyUI's workflows do."""
    environ = {**trouble_environ(tmp_path / "plugin"), "FRAMEGATE_QUEUE__URL": queue_url}
    api = start_server(environ=environ, arguments=["--no-worker"], ready="/health")
    command = [*COMMAND, "worker", "--data-dir", str(api.data_dir), "--models"]
    with ExitStack() as running:
        workers = [
            running.enter_context(subprocess.Popen([*command, model], env=clean_environ(environ)))
            for model in ("left", "right")
        ]
        models = {
            worker["id"]: worker["models"]
            for worker in eventually(lambda: _workers(api, 2), what="both workers")
        }
        for model in ("left", "right", "right") * 3:
            body = {"model": model, "prompt": "draw 1", "async_mode": True}
            answer = requests.post(f"{api.url}/v1/videos/generate", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
        jobs = eventually(lambda: _ended_jobs(api, 9), what="the end of all jobs")
        for worker in workers:
            worker.terminate()
    for job in jobs:
        assert job["state"] == "succeeded", job
        assert models[job["worker"]] == [job["served_by"]]


def _workers(api: RunningServer, count: int) -> list[dict[str, Any]] | None:
    workers: list[dict[str, Any]] = api.json("workers")
    return workers if len(workers) == count else None


def _ended_jobs(api: RunningServer, count: int) -> list[dict[str, Any]] | None:
    jobs: list[dict[str, Any]] = api.json("jobs", "list")
    return jobs if sum(job["finished_at"] is not None for job in jobs) == count else None


def test_worker_says_that_the_queue_cannot_be_reached_and_waits(tmp_path: Path, queue_url: str) -> None:
    dead = f"redis://127.0.0.1:{free_port()}/0"
    with subprocess.Popen(
        [*COMMAND, "worker", "--data-dir", tmp_path / "data"],
        env=clean_environ({"FRAMEGATE_QUEUE__URL": dead}),
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stderr is not None
        assert "valkey_unreachable" in worker.stderr.readline()
        worker.terminate()
        assert worker.wait(30) == 0
