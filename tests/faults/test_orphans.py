"""Files that no record knows are found and removed; all others stay."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.support.running import RunningServer, eventually
from tests.support.tasks import kept_files

StartServer = Callable[..., RunningServer]

LONG_AGO = time.time() - 2 * 86_400
NAME = "0123456789abcdef" * 2


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
            timeout=60,
        ).json()["task_id"]
    eventually(lambda: server.json("jobs", "show", task)["state"] == "succeeded", what="the video")
    assert server.stop() == 0
    files, work = server.data_dir / "files", server.data_dir / "work"
    known = kept_files(server)
    assert len(known) == 2, "the picture and the video"
    for path in known:
        os.utime(path, (LONG_AGO, LONG_AGO))
    orphans = [
        write(files / "inputs" / f"{NAME}.png", at=LONG_AGO),
        write(files / "inputs" / NAME, at=LONG_AGO),
        write(files / "results" / "gone" / "1-0123abcd-0.mp4", at=LONG_AGO),
        write(files / "results" / "gone" / "1-0123abcd-0.mp4.thumbnail.webp", at=LONG_AGO),
        write(files / "results" / "gone" / "look-0.png", at=LONG_AGO),
        write(files / "characters" / NAME / "avatar.png", at=LONG_AGO),
        write(work / "killed" / "video.mp4", at=LONG_AGO),
    ]
    young = [
        write(files / "inputs" / f"{NAME[::-1]}.png", at=time.time()),
        write(work / "running" / "video.mp4", at=time.time()),
    ]
    foreign = [
        write(files / "taxes" / "2025.pdf", at=LONG_AGO),
        write(files / "results" / "holidays" / "beach.mp4", at=LONG_AGO),
        write(files / "inputs" / "cat.png", at=LONG_AGO),
    ]
    server.restart()
    eventually(lambda: not any(path.exists() for path in orphans), what="the orphans' removal")
    eventually(lambda: not (files / "results" / "gone").exists(), what="the end of their folder")
    assert all(path.exists() for path in (*known, *young, *foreign))
    assert requests.get(f"{server.url}/v1/tasks/{task}/result", timeout=60).ok


def test_files_of_another_queue_s_jobs_stay(start_server: StartServer, tmp_path: Path) -> None:
    """As where the server was started with a wrong address of its queue, or Valkey has lost everything."""
    server = start_server()
    eventually(lambda: (server.data_dir / "files" / "installation").is_file(), what="the mark")
    assert server.stop() == 0
    (server.data_dir / "valkey").rename(tmp_path / "elsewhere")
    result = write(server.data_dir / "files" / "results" / "job" / "1-0123abcd-0.mp4", at=LONG_AGO)
    server.restart()
    eventually(lambda: [line for line in server.log_lines() if line["event"] == "orphans_left"])
    assert result.exists()
