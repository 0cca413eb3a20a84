"""API and workers that share only a queue's URL and a folder."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import requests
from running import COMMAND, RunningServer, clean_environ, eventually, free_port

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
