"""What a person sees who starts a server on a terminal, and what Ctrl-C does."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from framegate.core.jobs import JobState
from framegate.storage.embedded import EmbeddedValkey
from tests.support.in_process import run_command
from tests.support.ports import free_port
from tests.support.running import COMMAND, clean_environ, eventually
from tests.support.terminal import INTERRUPT, Terminal

CONFIG = """
[server]
shutdown_grace = "90s"
"""


class Served(Terminal):
    """``framegate serve`` on a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data_dir = folder, folder / "data"
        (folder / "framegate.toml").write_text(CONFIG)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [*COMMAND, "serve", "--port", str(port), "--data-dir", str(self.data_dir)]
        super().__init__(command, environ=clean_environ(), cwd=folder)
        self.started: list[psutil.Process] = []

    def submit(self, task_id: str, **fields: float) -> None:
        body = {"prompt": "a boat", "task_id": task_id, **fields}
        requests.post(f"{self.url}/v1/tasks/video", json=body, timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("terminal")) as served:
        served.read_until(r"^  Stop +Ctrl-C$")
        served.started = psutil.Process(served.process.pid).children(recursive=True)
        yield served


def test_the_banner_says_what_to_do_next(served: Served) -> None:
    banner = served.text.partition(f"is ready at {served.url}\n")[2]
    assert re.search(rf"^  Page +{re.escape(served.url)}/$", banner, re.MULTILINE)
    assert re.search(rf"^  API docs +{re.escape(served.url)}/docs$", banner, re.MULTILINE)
    assert re.search(r"^  Models +only preview, which draws without a model", banner, re.MULTILINE)
    assert re.search(rf"^  Data +{re.escape(str(served.data_dir))}$", banner, re.MULTILINE)
    for path in ("/", "/docs"):
        assert requests.get(served.url + path, timeout=10).status_code == 200


def test_its_command_makes_a_video(served: Served) -> None:
    found = served.read_until(r"^  Try +(.+)$")
    command = shlex.split(found[1])
    done = subprocess.run(
        command, cwd=served.folder, env=clean_environ(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (served.folder / "out.mp4").read_bytes()[4:8] == b"ftyp"
    served.read_until(r"^\d\d:\d\d:\d\d job [0-9a-f]{8} started preview$")
    served.read_until(r"^\d\d:\d\d:\d\d job [0-9a-f]{8} succeeded preview  [\d.]+ m?s$")
    assert "\x1b[32msucceeded\x1b[0m" in served.output


def test_lines_are_short_and_polls_are_not_among_them(served: Served) -> None:
    served.submit("t1", width=64, height=64)
    served.read_until(r"^\S+ job t1 succeeded ")
    for path in ("/health", "/ready", "/v1/tasks/t1/status", "/v1/tasks/unknown/status"):
        requests.get(served.url + path, timeout=10)
    requests.post(f"{served.url}/video/status", json={"requestId": "unknown"}, timeout=10)
    requests.get(f"{served.url}/v1/tasks/t1/result", timeout=10).raise_for_status()
    requests.get(f"{served.url}/nowhere/\x1b[2J", timeout=10)
    served.read_until(r"^\S+ GET /nowhere/\\x1b\[2J 404 \d+ ms$")
    served.read_until(r"^\S+ GET /v1/tasks/t1/result 200 \d+ ms  job t1$")
    served.read_until(r"^\S+ POST /v1/tasks/video 200 \d+ ms  job t1$")
    for polled in ("/health", "/ready", "/status"):
        assert polled not in served.text
    lines = served.text.split("Ctrl-C\n\n")[1].splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_ctrl_c_says_what_is_waited_for_and_a_second_one_ends_at_once(served: Served) -> None:
    served.submit("long", width=1280, height=720, video_duration=120)
    served.read_until(r"^\S+ job long started ")
    served.press(INTERRUPT)
    served.read_until(
        r"^\S+ stopping: waiting for 1 running job, at most 90 s; Ctrl-C again ends at once, "
        r"and it runs again at the next start$"
    )
    served.press(INTERRUPT)
    assert served.wait() == 0
    assert "Traceback" not in served.text
    eventually(lambda: not any(process.is_running() for process in served.started), what="the end of all")
    # Nothing is lost: the job waits for the next start, and the attempt doesn't count.
    valkey = EmbeddedValkey(served.data_dir)
    valkey.start()
    try:
        assert state_of_long(served) == (JobState.QUEUED, 0)
        command = [*COMMAND, "worker", "--data-dir", str(served.data_dir)]
        with Terminal(command, environ=clean_environ(), cwd=served.folder) as worker:
            worker.read_until(r"^\S+ job long started ")
            worker.press(INTERRUPT)
            worker.read_until(
                r"^\S+ worker stopping: finishing its job, at most 90 s; Ctrl-C again ends at once"
            )
            worker.press(INTERRUPT)
            assert worker.wait() == 0
        assert "Traceback" not in worker.text
        assert state_of_long(served) == (JobState.QUEUED, 0)
    finally:
        valkey.stop()


def state_of_long(served: Served) -> tuple[str, int]:
    show = ["jobs", "show", "long", "--json", "--data-dir", str(served.data_dir)]
    shown = json.loads(run_command(show, environ=clean_environ(), cwd=served.folder).stdout)
    return shown["state"], shown.get("attempt", 0)


def test_ctrl_c_while_the_server_starts(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
    with Terminal(command, environ=clean_environ(), cwd=tmp_path) as server:
        server.read_until(r"valkey started pid=\d+$")
        started = psutil.Process(server.process.pid).children(recursive=True)
        server.press(INTERRUPT)
        assert server.wait() in (0, 130)
    assert "rror" not in server.text
    assert "Traceback" not in server.text
    eventually(lambda: not any(process.is_running() for process in started), what="the end of all")
