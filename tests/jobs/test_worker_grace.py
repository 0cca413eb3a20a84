"""Jobs are accepted while a worker is alive, was a moment ago, or is one of the server's own that starts."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX
from tests.support.running import RunningServer, clean_environ, eventually, running_worker
from tests.support.tasks import SMALL, all_succeed, ask_for_video, submit
from tests.support.web_folder import served_folder

StartServer = Callable[..., RunningServer]

PROMPT = {"prompt": "a boat on a lake"}
SUBMISSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "framegate": ("/api/v1/jobs", PROMPT),
    "lightx2v": ("/v1/tasks/video", {**PROMPT, **SMALL}),
    "openai-chat": (
        "/v1/chat/completions",
        {"model": "preview", "messages": [{"role": "user", "content": "a boat"}], "stream": True},
    ),
    "openai-videos": ("/v1/videos", PROMPT),
    "sora2api": ("/v1/videos/generate", {**PROMPT, "async_mode": True}),
    "wan21-submit": ("/video/submit", PROMPT),
    "wan22-predict": ("/predict", PROMPT),
}
"""Where each dialect takes a job, and with which body."""
WITH_IMAGES = frozenset({"wan21-submit"})
WAITING_FOR_RESULTS = frozenset({"wan22-predict"})
WAITING = """\
import os, sys, time
if "--with-parent" in sys.orig_argv:
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
"""
"""A module that every interpreter imports at its start, where a server's own workers wait for their gate."""
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


class Gate:
    """A server without any grace whose own workers start only while the gate is open."""

    def __init__(self, folder: Path, photo: str) -> None:
        (folder / "sitecustomize.py").write_text(WAITING)
        self._open = folder / "open"
        self.photo = photo
        self.server = RunningServer(
            folder / "data",
            config='[queue]\nworker_grace = "0s"\n[fetch]\nallow = ["127.0.0.1"]\n',
            environ={"PYTHONPATH": str(folder), "GATE": str(self._open)},
        ).wait_until_ready("/health")

    def open(self) -> None:
        self._open.touch()

    def close(self) -> None:
        self._open.unlink()

    def status(self, path: str) -> int:
        return requests.get(self.server.url + path, timeout=10).status_code

    def jobs_by_dialect(self) -> Counter[str]:
        return Counter(job["dialect"] for job in self.server.json("jobs", "list", "--limit", "100"))

    def takes_jobs(self, pool: ThreadPoolExecutor) -> None:
        """Submit a job in every dialect; each is accepted at once, though no worker is alive."""
        before = self.jobs_by_dialect()
        dialects = sorted(entry["name"] for entry in self.server.json("dialects") if entry["enabled"])
        assert sorted(SUBMISSIONS) == dialects, "every dialect has its line"
        for dialect, (path, body) in SUBMISSIONS.items():
            url, fields = self.server.url + path, dict(body)
            if dialect in WITH_IMAGES:
                fields["image_url"] = self.photo
            if dialect in WAITING_FOR_RESULTS:  # it answers when it has a result
                pool.submit(requests.post, url, json=fields, timeout=120)
                continue
            with requests.post(url, json=fields, stream=True, timeout=10) as answer:
                assert answer.status_code in (200, 202), (dialect, answer.text)

        expected = before + Counter(SUBMISSIONS.keys())
        eventually(lambda: self.jobs_by_dialect() == expected, what="a job of every dialect")
        assert self.status("/ready") == 200
        assert self.status("/status") == 503


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Iterator[Gate]:
    with served_folder(photo.parent) as port:
        gate = Gate(tmp_path_factory.mktemp("gate"), f"http://127.0.0.1:{port}/{photo.name}")
        yield gate
        assert gate.server.stop() == 0, gate.server.log_text()


def test_every_dialect_takes_jobs_while_the_only_worker_starts(gate: Gate) -> None:
    """From the first answer on, and when the worker has died; and its jobs run once it is back."""
    server = gate.server
    with ThreadPoolExecutor() as pool:
        gate.takes_jobs(pool)
        gate.open()
        server.wait_until_ready()
        gate.close()
        server.kill_all("worker_started")
        eventually(lambda: not server.worker_pids(), what="the end of the worker")
        gate.takes_jobs(pool)
        for job in server.json("jobs", "list"):
            server.run("jobs", "cancel", job["id"])
        task = submit(server, "a boat")
        gate.open()
        all_succeed(server, [task])


def test_probes_are_answered_while_the_embedded_queue_stands_still(gate: Gate) -> None:
    valkey = gate.server.pid_of("valkey_started")
    os.kill(valkey, signal.SIGSTOP)
    try:
        for path in ("/ready", "/status", "/ready"):
            asked_at = time.monotonic()
            answer = requests.get(gate.server.url + path, timeout=10)
            assert time.monotonic() - asked_at < 1
            assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
            assert "The job queue hasn't answered within" in answer.text
        assert gate.status("/health") == 200
    finally:
        os.kill(valkey, signal.SIGCONT)
    eventually(lambda: gate.status("/ready") == 200, what="readiness")


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
    assert requests.get(f"{server.url}/status", timeout=10).json()["status"] == "degraded", "it is asked"
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
