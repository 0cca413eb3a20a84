"""kill -9 of server, workers and Valkey at random moments: nothing that was acknowledged is lost, nothing is
made twice, nothing is stuck.

The short version runs with the suite. The whole one::

    FAULT_JOBS=1000 FAULT_KILLS=20 FAULT_SEED=1 python -m pytest tests/faults/test_random_kills.py
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import redis
import requests

from framegate.core.jobs import JobState
from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX, decode_job
from tests.support.listing import entries_of
from tests.support.running import RunningServer, eventually
from tests.support.tasks import kept_files
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]

JOBS, KILLS, SEED = (
    int(os.environ.get(f"FAULT_{name}", default))
    for name, default in (("JOBS", 60), ("KILLS", 3), ("SEED", 1))
)
CONFIG = '[presets]\nlightx2v = { video = "trouble" }\n'
LONG_AGO = time.time() - 86_400
BODY = {"prompt": "draw 5", "width": 64, "height": 64, "video_duration": 0.4}


class Chaos:
    """Submits jobs, and between them kills what it draws."""

    def __init__(self, server: RunningServer, seed: int) -> None:
        self.server = server
        self.draw = random.Random(seed)
        self.acknowledged: list[str] = []
        self.killed: list[str] = []

    def submit(self) -> None:
        """Until it is acknowledged; what was refused or not answered is sent again as another job."""
        while True:
            try:
                answer = requests.post(f"{self.server.url}/v1/tasks/video", json=BODY, timeout=60)
            except (requests.ConnectionError, requests.Timeout):
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                self.acknowledged.append(str(answer.json()["task_id"]))
                return
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            time.sleep(0.2)

    def kill(self) -> None:
        victim = self.draw.choice(["server", "worker", "valkey", "all"])
        self.killed.append(victim)
        if victim in ("worker", "all"):
            self.server.kill_all("worker_started")
        if victim in ("valkey", "all"):
            self.server.kill_all("valkey_started")
        if victim in ("server", "all"):
            self.server.kill()
            self.server.restart()

    def ended(self) -> bool:
        client = connect(socket_url(self.server.data_dir))
        try:
            return not client.zcard(f"{PREFIX}state:queued") and not client.zcard(f"{PREFIX}state:running")
        except redis.RedisError:
            return False
        finally:
            client.close()


@pytest.mark.timeout(600 + 4 * JOBS + 60 * KILLS)
def test_nothing_is_lost_or_stuck(start_server: StartServer, tmp_path: Path) -> None:
    environ = trouble_environ(tmp_path / "plugin")
    server = start_server(config=CONFIG, environ=environ, arguments=["--workers", "2"])
    chaos = Chaos(server, SEED)
    kills = set(chaos.draw.sample(range(1, JOBS), KILLS))
    for number in range(JOBS):
        chaos.submit()
        if number in kills:
            chaos.kill()
    eventually(
        chaos.ended, seconds=120 + 2 * JOBS + 30 * KILLS, what=f"the end of all jobs after {chaos.killed}"
    )

    assert len(set(chaos.acknowledged)) == JOBS
    for task in chaos.acknowledged:
        result = requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=60)
        assert result.status_code == 200, (task, chaos.killed)
        assert result.content[4:8] == b"ftyp"
    client = connect(socket_url(server.data_dir))
    for left in ("leases", "state:queued", "state:running", "queued:q-trouble"):
        assert client.zcard(f"{PREFIX}{left}") == 0, left
    assert client.keys(f"{PREFIX}lane*") == []
    records = cast("list[str]", client.keys(f"{PREFIX}job:*"))
    results = sorted(result_of(client, record) for record in records)
    client.close()
    eventually(lambda: not entries_of(server.data_dir / "work"), what="the end of what was half-done")
    assert len(results) >= JOBS, "whoever got no answer may have a job nevertheless"
    assert set(results) <= set(stored(server))
    # An attempt that was killed between storing its file and telling of it leaves that until the next sweep.
    assert server.stop() == 0
    for path in stored(server).values():
        os.utime(path, (LONG_AGO, LONG_AGO))
    server.restart()
    eventually(
        lambda: sorted(stored(server)) == results, what="a single result of each job, and nothing else"
    )


def result_of(client: redis.Redis, record: str) -> str:
    job = decode_job(cast("dict[str, str]", client.hgetall(record)))
    assert job.state == JobState.SUCCEEDED, job
    [artifact] = job.artifacts
    return artifact.key


def stored(server: RunningServer) -> dict[str, Path]:
    """The files that are there, each with its key."""
    files = server.data_dir / "files"
    return {str(path.relative_to(files)): path for path in kept_files(server)}
