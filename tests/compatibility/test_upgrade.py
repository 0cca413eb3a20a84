"""From 0.1 to 0.2 and back: what was queued and made stays, and hosts can be updated one after the other."""

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
import requests

from framegate.storage.embedded import EmbeddedValkey
from tests.support.environments import Environment
from tests.support.receiving import SECRET, StartReceiver
from tests.support.running import COMMAND, PATIENCE, RunningServer, clean_environ, eventually

CONFIG = '[fetch]\nallow = ["127.0.0.1"]\n'
SMALL_VIDEOS = """
[aliases.small]
model = "sora-2"
defaults = { width = 64, height = 64, num_frames = 8 }
"""
LONG: dict[str, Any] = {"width": 640, "height": 480, "infer_steps": 30, "target_video_length": 81}
SMALL: dict[str, Any] = {"prompt": "a boat on a lake", "width": 128, "height": 96, "seed": 7}


def submit(server: RunningServer, path: str = "/v1/tasks/video", **fields: Any) -> str:
    """Queue a short video, or an image, by lightx2v."""
    length = {"target_video_length": 9} if path.endswith("video") else {}
    answer = requests.post(server.url + path, json={**SMALL, **length, **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def result(server: RunningServer, task_id: str, *, seconds: float = PATIENCE) -> bytes:
    """Wait for a task of lightx2v and return its file."""

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=10).json()
        return status if status["end_time"] else None

    assert eventually(ended, seconds=seconds, what=f"the end of {task_id}")["progress"] == 1.0
    answer = requests.get(f"{server.url}/v1/tasks/{task_id}/result", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.content


def num_frames(video: bytes) -> int:
    with av.open(io.BytesIO(video), "r") as container:
        return sum(1 for _ in container.decode(video=0))


def test_what_0_1_queued_and_made_is_there_after_the_upgrade(
    old: Environment, tmp_path: Path, photo: Path
) -> None:
    before = RunningServer(tmp_path / "data", config=CONFIG, command=old.framegate).wait_until_ready("/ready")
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


def test_what_0_2_queued_and_made_is_there_after_a_downgrade_and_up_again(
    old: Environment, tmp_path: Path, start_receiver: StartReceiver
) -> None:
    """Killed as a whole, in the middle of a job, before it goes down and before it goes up again."""
    receiver = start_receiver()
    receiver.stop()  # what is owed to it stays owed
    given: dict[str, Any] = {
        "config": f'{CONFIG}[webhooks]\nsecret = {{ env = "WEBHOOK_SECRET" }}\n{SMALL_VIDEOS}',
        "environ": {"WEBHOOK_SECRET": SECRET},
    }
    now = RunningServer(tmp_path / "data", **given).wait_until_ready()
    kept = {task: result(now, task) for task in (submit(now), submit(now, "/v1/tasks/image"))}
    deleted = video_for(now)
    wait_for_video(now, deleted)
    assert requests.delete(f"{now.url}/v1/videos/{deleted}", timeout=30).status_code == 200
    told_of = video_for(now, f"{receiver.url}/made-by-0.2")
    wait_for_video(now, told_of)
    running = submit(now, **LONG)
    queued = {
        "text": submit(now),
        "named": submit(now, task_id="my-own-id"),
        "shots": submit(now, target_video_length=200),
        "image": submit(now, "/v1/tasks/image"),
    }
    announced = video_for(now, f"{receiver.url}/queued-by-0.2")
    cancelled = submit(now)
    assert requests.delete(f"{now.url}/v1/tasks/{cancelled}", timeout=30).status_code == 200
    kill_while_running(now, running)

    down = RunningServer(now.data_dir, **given, command=old.framegate).wait_until_ready("/ready")
    assert {task: result(down, task, seconds=0) for task in kept} == kept
    assert requests.get(f"{down.url}/v1/videos/{deleted}", timeout=30).status_code == 404
    assert num_frames(result(down, running)) == LONG["target_video_length"]
    assert num_frames(result(down, queued["text"])) == num_frames(result(down, queued["named"])) == 9
    assert queued["named"] == "my-own-id"
    assert num_frames(result(down, queued["shots"])) >= 200
    assert result(down, queued["image"]).startswith(b"\x89PNG")
    wait_for_video(down, announced)
    jobs = listed(down)
    assert jobs[cancelled]["state"] == "cancelled"
    assert jobs[running]["attempt"] == 2, "the worker that was killed had it first"
    kept |= {task: result(down, task, seconds=0) for task in (running, *queued.values())}
    running = submit(down, **LONG)
    waiting = submit(down)
    announced_by_old = video_for(down, f"{receiver.url}/queued-by-0.1")
    kill_while_running(down, running)

    receiver.start()
    up = RunningServer(now.data_dir, **given).wait_until_ready()
    try:
        assert num_frames(result(up, running)) == LONG["target_video_length"]
        assert num_frames(result(up, waiting)) == 9
        wait_for_video(up, announced_by_old)
        assert {task: result(up, task, seconds=0) for task in kept} == kept
        assert requests.get(f"{up.url}/v1/videos/{deleted}", timeout=30).status_code == 404
        jobs = listed(up)
        assert jobs[running]["attempt"] == 2
        ended = {task: job["state"] for task, job in jobs.items()}
        assert ended == dict.fromkeys(jobs, "succeeded") | {cancelled: "cancelled"}
        owed = {"/made-by-0.2", "/queued-by-0.2", "/queued-by-0.1"}
        eventually(lambda: {event.path for event in receiver.received} == owed, what="all webhooks")
    finally:
        assert up.stop() == 0, up.log_text()


def video_for(server: RunningServer, webhook_url: str = "") -> str:
    """Queue a video of openai-videos, with whoever is to be told of its end; return its id."""
    form = {"prompt": "a boat", "model": "small"}
    if webhook_url:
        form["webhook_url"] = webhook_url
    answer = requests.post(f"{server.url}/v1/videos", data=form, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def wait_for_video(server: RunningServer, video_id: str) -> None:
    def ended() -> str:
        found = requests.get(f"{server.url}/v1/videos/{video_id}", timeout=30).json()
        return str(found["status"]) if found["status"] in ("completed", "failed") else ""

    assert eventually(ended, what=f"the end of {video_id}") == "completed"


def listed(server: RunningServer) -> dict[str, dict[str, Any]]:
    return {job["id"]: job for job in server.json("jobs", "list")}


def kill_while_running(server: RunningServer, task_id: str) -> None:
    """Kill the server with its workers and its Valkey, with -9, while that task runs."""
    eventually(lambda: listed(server)[task_id]["state"] == "running", what="its start")
    process = psutil.Process(server.process.pid)
    for child in process.children(recursive=True):
        child.kill()
    server.kill()


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
        older.wait_until_ready("/ready")
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
