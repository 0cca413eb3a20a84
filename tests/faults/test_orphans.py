"""Files that no record knows are found and removed; all others stay."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import requests
from running import RunningServer, eventually

StartServer = Callable[..., RunningServer]

LONG_AGO = time.time() - 2 * 86_400


def write(path: Path, *, at: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left behind")
    os.utime(path, (at, at))
    os.utime(path.parent, (at, at))
    return path


def test_what_killed_processes_left_goes_at_the_next_start(start_server: StartServer, photo: Path) -> None:
    server = start_server(config='[storage]\nretention = "30d"\n')
    with photo.open("rb") as file:
        task = requests.post(
            f"{server.url}/v1/tasks/video/form",
            data={"prompt": "waves", "width": 64, "height": 64, "video_duration": 0.5},
            files={"image_file": ("photo.jpg", file)},
            timeout=30,
        ).json()["task_id"]
    eventually(lambda: server.json("jobs", "show", task)["state"] == "succeeded", what="the video")
    assert server.stop() == 0
    files, work = server.data_dir / "files", server.data_dir / "work"
    known = [path for path in files.rglob("*") if path.is_file()]
    assert len(known) == 2, "the picture and the video"
    for path in known:
        os.utime(path, (LONG_AGO, LONG_AGO))
    orphans = [
        write(files / "inputs" / "0123.png", at=LONG_AGO),
        write(files / "results" / "gone" / "1-0.mp4", at=LONG_AGO),
        write(files / "characters" / "gone" / "avatar.png", at=LONG_AGO),
        write(work / "killed" / "video.mp4", at=LONG_AGO),
    ]
    young = [
        write(files / "inputs" / "4567.png", at=time.time()),
        write(work / "running" / "video.mp4", at=time.time()),
    ]
    server.restart()
    eventually(lambda: not any(path.exists() for path in orphans), what="the orphans' removal")
    assert not (files / "results" / "gone").exists(), "nor is its folder left"
    assert all(path.exists() for path in (*known, *young))
    assert requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=30).ok
