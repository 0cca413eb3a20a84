"""Small jobs by the dialect lightx2v, for tests of what happens to jobs whatever the dialect."""

from pathlib import Path
from typing import Any, cast

import redis
import requests

from tests.support.listing import files_below
from tests.support.running import PATIENCE, RunningServer, eventually

SMALL: dict[str, Any] = {"width": 64, "height": 64, "video_duration": 0.5}


def ask_for_video(server: RunningServer, prompt: str, **fields: Any) -> requests.Response:
    """Ask for a video, small unless ``fields`` say otherwise."""
    body = {"prompt": prompt, **SMALL, **fields}
    return requests.post(f"{server.url}/v1/tasks/video", json=body, timeout=60)


def submit(server: RunningServer, prompt: str, **fields: Any) -> str:
    """Ask for a video that is taken; return its id."""
    answer = ask_for_video(server, prompt, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def status(server: RunningServer, task: str) -> dict[str, Any]:
    """Return what the server says of the task."""
    return dict(requests.get(f"{server.url}/v1/tasks/{task}/status", timeout=60).json())


def reads_of_jobs(client: redis.Redis) -> int:
    """Return how often Valkey has read fields of records, as for each poll not answered from memory."""
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return int(stats.get("cmdstat_hmget", {"calls": 0})["calls"])


def started(server: RunningServer, task: str) -> None:
    """Wait until a worker has the task; it may have ended since."""
    eventually(lambda: status(server, task).get("status") not in (None, "submitted"), what=f"start of {task}")


def ended(server: RunningServer, task: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
    """Return the state of the task once it has ended."""

    def look() -> dict[str, Any] | None:
        body = status(server, task)
        return body if body.get("status") in ("succeed", "failed", "cancelled") else None

    return eventually(look, seconds=seconds, what=f"the end of {task}")


def all_succeed(server: RunningServer, tasks: list[str], *, seconds: float = PATIENCE) -> None:
    """Wait until all have ended, each with a result."""
    for task in tasks:
        body = ended(server, task, seconds=seconds)
        assert body["status"] == "succeed", body


def download(server: RunningServer, task: str) -> bytes:
    """Return the task's video."""
    answer = requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def kept_files(server: RunningServer) -> list[Path]:
    """Return all that is stored: inputs, results and characters, but for the mark of the installation."""
    folder = server.data_dir / "files"
    return [path for path in files_below(folder) if path.parent != folder]


def results(server: RunningServer, task: str = "") -> list[Path]:
    """Return the files that were made for the task; for all of them if none is named."""
    return files_below(server.data_dir / "files" / "results" / task)
