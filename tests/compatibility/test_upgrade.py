"""From 0.1 to 0.2: what was queued and made stays, and hosts can be updated one after the other."""

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import requests

from framegate.storage.embedded import EmbeddedValkey
from tests.support.environments import Environment
from tests.support.running import COMMAND, PATIENCE, RunningServer, clean_environ, eventually

CONFIG = '[fetch]\nallow = ["127.0.0.1"]\n'
SMALL: dict[str, Any] = {"prompt": "a boat on a lake", "width": 128, "height": 96, "seed": 7}


def submit(server: RunningServer, path: str = "/v1/tasks/video", **fields: Any) -> str:
    """Queue a short video, or an image, by lightx2v."""
    length = {"target_video_length": 9} if path.endswith("video") else {}
    answer = requests.post(server.url + path, json={**SMALL, **length, **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def result(server: RunningServer, task_id: str) -> bytes:
    """Wait for a task of lightx2v and return its file."""

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=10).json()
        return status if status["end_time"] else None

    assert eventually(ended, seconds=120, what=f"the end of {task_id}")["progress"] == 1.0
    answer = requests.get(f"{server.url}/v1/tasks/{task_id}/result", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.content


def num_frames(video: bytes) -> int:
    with av.open(io.BytesIO(video), "r") as container:
        return sum(1 for _ in container.decode(video=0))


def test_what_0_1_queued_and_made_is_there_after_the_upgrade(
    old: Environment, tmp_path: Path, photo: Path
) -> None:
    before = RunningServer(tmp_path / "data", config=CONFIG, command=old.framegate).wait_until_ready()
    made = submit(before)
    file = result(before, made)
    assert before.stop() == 0, before.log_text()

    queueing = RunningServer(
        tmp_path / "data", config=CONFIG, command=old.framegate, arguments=["--no-worker"]
    )
    queueing.wait_until_ready("/health")
    waiting = {
        "text": submit(queueing),
        "named": submit(queueing, task_id="my-own-id"),
        "long": submit(queueing, target_video_length=200),
    }
    with photo.open("rb") as picture:
        form = {"prompt": "a boat", "model": "sora-2", "seconds": "4", "size": "1280x720"}
        posted = requests.post(
            f"{queueing.url}/v1/videos", data=form, files={"input_reference": picture}, timeout=30
        )
    assert posted.status_code == 200, posted.text
    video_id = posted.json()["id"]
    image = submit(queueing, "/v1/tasks/image")
    assert queueing.stop() == 0, queueing.log_text()

    after = RunningServer(tmp_path / "data", config=CONFIG).wait_until_ready()
    try:
        assert result(after, made) == file, "what was made before is there as it was"
        assert num_frames(result(after, waiting["text"])) == 9
        assert waiting["named"] == "my-own-id"
        assert num_frames(result(after, "my-own-id")) == 9
        assert num_frames(result(after, waiting["long"])) >= 200, "a job of several shots"

        def video() -> dict[str, Any] | None:
            state: dict[str, Any] = requests.get(f"{after.url}/v1/videos/{video_id}", timeout=10).json()
            return state if state["status"] in ("completed", "failed") else None

        assert eventually(video, seconds=120, what="the video of 0.1's input file")["status"] == "completed"

        assert result(after, image).startswith(b"\x89PNG")
        assert after.json("jobs", "list")
    finally:
        assert after.stop() == 0, after.log_text()


Worker = Callable[[str, tuple[str, ...]], Path]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def start_worker(tmp_path: Path, queue: EmbeddedValkey) -> Iterator[Worker]:
    """Start ``framegate worker`` of an environment; the path of its log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, command: tuple[str, ...]) -> Path:
        log = tmp_path / f"{name}.log"
        with log.open("wb") as out:
            started.append(
                subprocess.Popen(
                    [*command, "worker", "--data-dir", tmp_path / "data"],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=clean_environ({"FRAMEGATE_QUEUE__URL": queue.url}),
                )
            )
        return log

    yield start
    for process in started:
        process.terminate()
    for process in started:
        assert process.wait(PATIENCE) == 0


def test_two_versions_serve_one_queue(
    old: Environment, start_worker: Worker, queue: EmbeddedValkey, tmp_path: Path
) -> None:
    config = f'{CONFIG}[queue]\nurl = "{queue.url}"\n'
    logs = {"0.1.0": start_worker("old", old.framegate), "0.2.0": start_worker("new", COMMAND)}
    alone = ["--no-worker"]
    older = RunningServer(tmp_path / "data", config=config, arguments=alone, command=old.framegate)
    (tmp_path / "new").mkdir()
    newer = RunningServer(
        tmp_path / "new" / "api",
        config=f'{config}[server]\ndata_dir = "{tmp_path / "data"}"\n',
        arguments=[*alone, "--data-dir", str(tmp_path / "data")],
    )
    try:
        older.wait_until_ready()
        newer.wait_until_ready()

        def versions() -> set[str]:
            found = {worker["version"] for worker in newer.json("workers")}
            return found if len(found) == 2 else set()

        assert eventually(versions, what="both workers") == set(logs)
        assert {worker["version"] for worker in older.json("workers")} == set(logs)

        # Each is asked for what the other was given.
        for _ in range(20):
            jobs = [(older, submit(newer)) for _ in range(4)] + [(newer, submit(older)) for _ in range(4)]
            for other, task_id in jobs:
                assert num_frames(result(other, task_id)) == 9
            if all(_jobs_started(log) for log in logs.values()):
                break
        assert all(_jobs_started(log) for log in logs.values()), "both workers run jobs"

        # One is cancelled by the API of the other version while it runs or waits.
        long = submit(newer, target_video_length=1800)
        assert requests.delete(f"{older.url}/v1/tasks/{long}", timeout=10).status_code == 200

        def cancelled() -> bool:
            state = requests.get(f"{newer.url}/v1/tasks/{long}/status", timeout=10).json()
            return bool(state["end_time"])

        eventually(cancelled, what="the cancelled job's end")
    finally:
        for api in (older, newer):
            assert api.stop() == 0, api.log_text()
    for name in ("old", "new"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


def _jobs_started(log: Path) -> int:
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return sum(line["event"] == "job_started" for line in lines)
