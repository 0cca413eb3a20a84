"""Usage adds up, whatever is killed, cancelled or sent twice: every job is counted once, and every second.

The short version runs with the suite. The whole one::

    FAULT_JOBS=200 FAULT_KILLS=10 FAULT_SEED=1 python -m pytest tests/faults/test_usage.py
"""

import hashlib
import os
import random
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import requests

from framegate.core.jobs import MAX_ATTEMPTS, Job, JobState
from framegate.core.usage import Usage
from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX, decode_job
from tests.support.running import RunningServer, eventually
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]

JOBS, KILLS, SEED = (
    int(os.environ.get(f"FAULT_{name}", default))
    for name, default in (("JOBS", 60), ("KILLS", 2), ("SEED", 1))
)
OWNERS = ("alice", "bob", "cid")
CONFIG = """
[aliases.small]
model = "trouble"
defaults = { width = 64, height = 64, num_frames = 4 }
"""


def config() -> str:
    keys = "".join(
        f'[[auth.keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(f"{name}-key".encode()).hexdigest()}"\n'
        f"scopes = {scopes}\n"
        for name, scopes in [*((owner, '["submit", "read"]') for owner in OWNERS), ("root", '["admin"]')]
    )
    return CONFIG + keys


class Clients:
    """Submits jobs for its owners, some of them twice, and cancels others."""

    def __init__(self, server: RunningServer, draw: random.Random) -> None:
        self._server = server
        self._draw = draw
        self.submitted: Counter[str] = Counter()

    def call(self, method: str, path: str, by: str, **arguments: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {by}-key", **arguments.pop("headers", {})}
        return requests.request(method, self._server.url + path, headers=headers, timeout=60, **arguments)

    def submit(self, number: int) -> None:
        owner = self._draw.choice(OWNERS)
        form = {"prompt": self._draw.choice(["draw 5", "draw 5", "draw 20", "fail"]), "model": "small"}
        repeat = {"Idempotency-Key": f"job-{number}"}
        answers = [
            self.call("POST", "/v1/videos", owner, data=form, headers=repeat)
            for _ in range(self._draw.choice([1, 1, 2, 3]))
        ]
        ids = {answer.json()["id"] for answer in answers}
        assert len(ids) == 1, "a repeated submission is the same job"
        self.submitted[owner] += 1
        if self._draw.random() < 0.15:
            assert self._server.run("jobs", "cancel", ids.pop()).returncode == 0

    def retry(self, job: Job) -> None:
        for _ in range(2):
            answer = self.call(
                "POST",
                f"/api/v1/jobs/{job.id}/retry",
                job.owner,
                headers={"Idempotency-Key": f"again-{job.id}"},
            )
            assert answer.status_code == 202, answer.text
        self.submitted[job.owner] += 1


def jobs_of(server: RunningServer) -> list[Job]:
    """Return all jobs, as Valkey has them."""
    client = connect(socket_url(server.data_dir))
    records = [cast("dict[str, str]", client.hgetall(key)) for key in client.keys(f"{PREFIX}job:*")]
    client.close()
    return [decode_job(record) for record in records]


def usage_by(jobs: list[Job]) -> Usage:
    """Return what the records of jobs add up to."""
    states = Counter(job.state for job in jobs)
    spans = [(job.started_at, job.finished_at) for job in jobs if job.started_at and job.finished_at]
    return Usage(
        jobs=len(jobs),
        succeeded=states[JobState.SUCCEEDED],
        failed=states[JobState.FAILED],
        cancelled=states[JobState.CANCELLED],
        gpu_seconds=sum(round(1e6 * (finished - started)) for started, finished in spans) / 1e6,
        input_bytes=sum(job.input_bytes for job in jobs),
        result_bytes=sum(made.size for job in jobs for made in job.artifacts),
    )


@pytest.mark.timeout(600 + 4 * JOBS + 60 * KILLS)
def test_usage_adds_up(start_server: StartServer, tmp_path: Path) -> None:
    environ = trouble_environ(tmp_path / "plugin")
    server = start_server(config=config(), environ=environ, arguments=["--workers", "2"])
    draw = random.Random(SEED)
    clients = Clients(server, draw)
    kills = set(draw.sample(range(1, JOBS), KILLS))
    for number in range(JOBS):
        clients.submit(number)
        if number in kills:
            server.kill_all("worker_started")
    what_waits_is_held_back(server, clients)
    eventually(
        lambda: all(job.state.finished for job in jobs_of(server)),
        seconds=120 + 2 * JOBS,
        what="the end of all",
    )
    jobs = jobs_of(server)
    report = clients.call("GET", "/admin/usage", "root").json()
    assert server.json("usage") == report
    for owner in OWNERS:
        own = [job for job in jobs if job.owner == owner]
        assert len(own) == clients.submitted[owner]
        [item] = [msgspec.convert(item, Usage) for item in report["items"] if item["key"] == owner]
        assert item == usage_by(own), owner
    assert msgspec.convert(report["total"], Usage) == usage_by(jobs)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    for job in jobs:
        assert job.attempt <= MAX_ATTEMPTS


def what_waits_is_held_back(server: RunningServer, clients: Clients) -> None:
    """Pause the model and drain the host while jobs wait: none is started until both are undone."""
    assert server.run("pause", "small").returncode == 0
    host = socket.gethostname()
    eventually(lambda: len(server.json("workers")) == 2, what="both workers")
    assert {worker["state"] for worker in server.json("workers", "drain", host)} <= {"draining", "drained"}
    clients.submit(JOBS)
    eventually(
        lambda: {worker["state"] for worker in server.json("workers")} == {"drained"},
        what="the end of what ran",
    )
    for job in random.Random(SEED).sample([job for job in jobs_of(server) if job.state.finished], 5):
        clients.retry(job)
    attempts = [(job.id, job.attempt) for job in jobs_of(server)]
    assert server.run("resume", "trouble").returncode == 0
    assert [(job.id, job.attempt) for job in jobs_of(server)] == attempts, "the workers are drained"
    for worker in server.json("workers", "resume", host):
        assert worker["state"] in ("idle", "busy")
