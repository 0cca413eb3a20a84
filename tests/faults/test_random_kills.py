"""kill -9 of server, workers and Valkey at random moments: nothing that was acknowledged is lost, nothing is
made twice, nothing is stuck.

The short version runs with the suite. The whole one::

    FAULT_JOBS=1000 FAULT_KILLS=20 FAULT_SEED=1 python -m pytest tests/faults/test_random_kills.py
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import requests
from running import RunningServer, eventually
from trouble import trouble_environ

from framegate.adapters.stores.connections import connect
from framegate.adapters.stores.embedded import socket_url
from framegate.adapters.stores.records import PREFIX

StartServer = Callable[..., RunningServer]

JOBS, KILLS, SEED = (
    int(os.environ.get(f"FAULT_{name}", default))
    for name, default in (("JOBS", 60), ("KILLS", 3), ("SEED", 1))
)
CONFIG = '[presets]\nlightx2v = { video = "trouble" }\n'
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
                answer = requests.post(f"{self.server.url}/v1/tasks/video", json=BODY, timeout=30)
            except requests.ConnectionError:
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
            self._kill_all("worker_started")
        if victim in ("valkey", "all"):
            self._kill_all("valkey_started")
        if victim in ("server", "all"):
            self.server.kill()
            self.server.restart()

    def _kill_all(self, event: str) -> None:
        """Those whose start is in the log; most of them have ended long ago."""
        for line in self.server.log_lines():
            if line["event"] == event and _is_ours(line["pid"]):
                os.kill(line["pid"], signal.SIGKILL)

    def ended(self) -> bool:
        client = connect(socket_url(self.server.data_dir))
        try:
            return not client.zcard(f"{PREFIX}state:queued") and not client.zcard(f"{PREFIX}state:running")
        except redis.ConnectionError:
            return False
        finally:
            client.close()


def _is_ours(pid: int) -> bool:
    """Is it still the process that the log speaks of, and not another one with its number?"""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"framegate" in command or b"valkey" in command


@pytest.mark.timeout(120 + 2 * JOBS + 30 * KILLS)
def test_nothing_is_lost_or_stuck(start_server: StartServer, tmp_path: Path) -> None:
    environ = trouble_environ(tmp_path / "plugin")
    server = start_server(config=CONFIG, environ=environ, arguments=["--processes", "2"])
    chaos = Chaos(server, SEED)
    kills = set(chaos.draw.sample(range(1, JOBS), KILLS))
    for number in range(JOBS):
        chaos.submit()
        if number in kills:
            chaos.kill()
    eventually(chaos.ended, seconds=60 + JOBS + 15 * KILLS, what=f"the end of all jobs after {chaos.killed}")

    assert len(set(chaos.acknowledged)) == JOBS
    for task in chaos.acknowledged:
        result = requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=30)
        assert result.status_code == 200, (task, chaos.killed)
        assert result.content[4:8] == b"ftyp"
    client = connect(socket_url(server.data_dir))
    for left in ("leases", "state:queued", "state:running", "queued:q-trouble"):
        assert client.zcard(f"{PREFIX}{left}") == 0, left
    assert client.keys(f"{PREFIX}lane*") == []
    client.close()
    assert list((server.data_dir / "work").iterdir()) == []
