"""Jobs are accepted while a worker is alive, was a moment ago, or is one of the server's own that starts."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import requests

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX
from tests.support.running import RunningServer, clean_environ, eventually, running_worker
from tests.support.tasks import all_succeed, ask_for_video, submit

StartServer = Callable[..., RunningServer]

CRASHING = """\
import os, sys
if "--with-parent" in sys.orig_argv:
    os._exit(3)
"""
"""A module that every interpreter imports at its start, where a server's own workers end."""


def predict(server: RunningServer) -> requests.Response:
    fields = {"prompt": "a boat", "width": 64, "height": 64, "num_frames": 25}
    return requests.post(f"{server.url}/predict", json=fields, timeout=120)


def last_seen(server: RunningServer, seconds_ago: float) -> None:
    """Let the queue believe that all workers were seen that long ago."""
    client = connect(socket_url(server.data_dir))
    models = cast("list[str]", client.zrange(f"{PREFIX}seen", 0, -1))
    client.zadd(f"{PREFIX}seen", dict.fromkeys(models, time.time() - seconds_ago))
    client.close()


def test_a_server_waits_for_its_own_worker(start_server: StartServer) -> None:
    """From its first answer on, and when the worker has died, even without any grace."""
    server = start_server(config='[queue]\nworker_grace = "0s"\n', ready="/health")
    all_succeed(server, [submit(server, "a boat")])
    server.kill_all("worker_started")
    all_succeed(server, [submit(server, "a boat")])


def test_a_worker_that_can_not_start_is_waited_for_as_long_as_the_grace(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASHING)
    config = '[queue]\nworker_grace = "2s"\n'
    server = start_server(config=config, environ={"PYTHONPATH": str(tmp_path)}, ready="/health")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(predict, server)
        task = submit(server, "a boat")

        def refusal() -> str:
            answer = ask_for_video(server, "a boat")
            return "" if answer.ok else str(answer.json()["detail"])

        told = eventually(refusal, what="the refusal")
        assert "own worker ends as soon as it is started" in told
        assert str(tmp_path) not in told
        answer = waiting.result()
    assert (answer.status_code, answer.json()) == (503, {"error": told.replace("lightx2v", "Wan2.2-TI2V-5B")})
    states = {job["id"]: job["state"] for job in server.json("jobs", "list")}
    assert states.pop(task) == "queued", "nobody waits for it"
    assert "cancelled" in states.values()


def test_the_queue_remembers_workers_and_accepts_for_the_grace(start_server: StartServer) -> None:
    config = '[queue]\nworker_grace = "1h"\n'
    server = start_server(config=config, arguments=["--no-worker"], ready="/health")
    with running_worker(server.data_dir, "--models", "preview", environ=clean_environ()) as worker:
        server.wait_until_ready()
        worker.terminate()
        assert worker.wait(60) == 0
    kept = submit(server, "a boat")
    assert requests.get(f"{server.url}/status", timeout=10).json()["status"] == "degraded"
    assert server.stop() == 0
    server.restart()
    submit(server, "a boat")
    last_seen(server, 3600 - 4)
    chat = {"model": "ltx2_landscape", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with requests.post(f"{server.url}/v1/chat/completions", json=chat, stream=True, timeout=60) as answer:
        assert answer.status_code == 200, answer.text
        stream = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: {")]
    assert "No worker that runs the model ltx2_landscape" in stream[-1]["error"]["message"]
    assert ask_for_video(server, "a boat").status_code == 503
    assert requests.get(f"{server.url}/status", timeout=10).json()["status"] == "no workers"
    with running_worker(server.data_dir, "--models", "preview", environ=clean_environ()):
        all_succeed(server, [kept])


def test_a_server_can_accept_jobs_for_workers_to_come(start_server: StartServer) -> None:
    config = '[queue]\nworker_grace = "forever"\n'
    server = start_server(config=config, arguments=["--no-worker"])
    submit(server, "a boat")
    assert requests.get(f"{server.url}/status", timeout=10).json()["status"] == "degraded"
