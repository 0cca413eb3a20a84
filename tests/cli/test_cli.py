"""The command line, as a person or a script calls it."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import pytest
import requests

from tests.support.in_process import Done, run_command
from tests.support.running import (
    COMMAND,
    RunningServer,
    clean_environ,
    eventually,
    framegate,
    running_worker,
    workers_of,
)
from tests.support.tasks import all_succeed, ask_for_video, submit

pytestmark = pytest.mark.smoke

StartServer = Callable[..., RunningServer]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(*arguments: str, data_dir: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Run a command that only reads and prints, without a process of its own."""
    where = ("--data-dir", data_dir)
    return run_command([*arguments, *where], environ=clean_environ(environ), cwd=data_dir.parent)


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for command in (
        "serve",
        "worker",
        "generate",
        "models",
        "plugins",
        "dialects",
        "jobs",
        "characters",
        "doctor",
        "init",
    ):
        assert f"\n  {command} " in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert imported.isdisjoint(
        {"litestar", "dramatiq", "redis", "numpy", "torch", "av", "PIL", "aiohttp", "rich"}
    )


def test_generate_makes_a_video_without_a_server(data_dir: Path, photo: Path) -> None:
    made = data_dir.parent / "out.mp4"
    done = framegate(
        *("generate", "a paper boat on a pond", "--image", photo, "-o", made),
        *("--width", "320", "--height", "192", "--num-frames", "17", "--fps", "8", "--seed", "5"),
        data_dir=data_dir,
    )
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr, "a progress bar"
    assert "seed 5" in done.stdout
    with av.open(made) as video:
        stream = video.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
        assert (stream.width, stream.height, len(frames)) == (320, 192, 17)
        assert stream.average_rate == 8
    assert (frames[0] != frames[-1]).any()


def test_generate_makes_a_picture(data_dir: Path) -> None:
    made = data_dir.parent / "boat.png"
    done = framegate(
        "generate", "a boat", "-o", made, "--width", "96", "--height", "64", "--json", data_dir=data_dir
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(made)
    assert made.read_bytes().startswith(b"\x89PNG")


def test_generate_uses_the_running_server(server: RunningServer, tmp_path: Path) -> None:
    made = tmp_path / "out.mp4"
    size = ("--width", "64", "--height", "64", "--num-frames", "8")
    done = server.json("generate", "a boat", "-o", str(made), *size)
    assert made.is_file()
    job = server.json("jobs", "show", done["job_id"])
    assert (job["dialect"], job["state"]) == ("cli", "succeeded")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "missing.jpg"], ["missing.jpg", "No such file"]),
        (["--model", "previev"], ["previev", "Did you mean preview"]),
        (["-o", "out.avi"], ["out.avi", ".mp4"]),
        (["-o", "nowhere/out.mp4"], ["nowhere"]),
    ],
)
def test_generate_says_what_is_wrong(data_dir: Path, arguments: list[str], words: list[str]) -> None:
    done = run("generate", "a boat", *arguments, data_dir=data_dir)
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_jobs_can_be_listed_shown_watched_and_cancelled(server: RunningServer) -> None:
    job_id = submit(server, "a long one", width=640, height=480, video_duration=60)
    with subprocess.Popen(
        [*COMMAND, "jobs", "watch", job_id, "--json", "--data-dir", server.data_dir],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    ) as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["id"] == job_id
        assert job_id in server.run("jobs", "list", "--state", "running", "--state", "queued").stdout
        assert server.run("jobs", "cancel", job_id).returncode == 0
        last = watch.stdout.readlines()[-1]
    assert json.loads(last)["state"] == "cancelled"
    assert watch.returncode == 1, "a job that made nothing"
    shown = server.run("jobs", "show", job_id).stdout
    assert "cancelled" in shown
    assert "640×480" in shown
    unknown = server.run("jobs", "show", "nope")
    assert unknown.returncode == 1
    assert "There is no job 'nope'" in unknown.stderr


def test_models_show_what_stands_behind_each_name(data_dir: Path) -> None:
    done = run("models", "--json", data_dir=data_dir)
    served = {model["name"]: model["served_by"] for model in json.loads(done.stdout)}
    assert served["Wan2.2-TI2V-5B"] == "preview"
    assert "sora2pro-hd-portrait-15s" in run("models", data_dir=data_dir).stdout


def test_plugins_and_dialects_are_listed(data_dir: Path) -> None:
    assert {"preview", "server", "worker"} <= {
        p["name"] for p in json.loads(run("plugins", "--json", data_dir=data_dir).stdout)
    }
    config = data_dir.parent / "framegate.toml"
    config.write_text(
        '[dialects]\nenabled = ["wan22-predict"]\n[dialects.wan22-predict]\nprefix = "/v4/p/app"\n'
    )
    listed = {d["name"]: d for d in json.loads(run("dialects", "--json", data_dir=data_dir).stdout)}
    assert listed["wan22-predict"]["prefix"] == "/v4/p/app"
    assert listed["lightx2v"]["enabled"] is False


def test_init_writes_a_config_that_passes_the_check(data_dir: Path) -> None:
    folder = data_dir.parent
    first, again = (run_command(["init"], environ=clean_environ(), cwd=folder) for _ in range(2))
    assert (folder / "framegate.toml").stat().st_mode & 0o077 == 0
    assert first.returncode == 0, first.stderr
    assert again.returncode == 1
    assert "--force" in again.stderr
    checked = run("config", "check", data_dir=data_dir)
    assert checked.returncode == 0, checked.stderr
    # Every example in it is right as well: whatever is commented out and looks like TOML.
    lines = (folder / "framegate.toml").read_text().splitlines()
    toml = re.compile(r"(# )?(\[|[a-z_]+ = )")
    examples = "\n".join(line.removeprefix("# ") for line in lines if toml.match(line))
    examples = examples.replace('backend = "wan22"', 'backend = "preview"')
    examples = examples.replace("/var/log/framegate", str(folder))  # has to exist
    (folder / "framegate.toml").write_text(examples)
    checked = run(
        "config",
        "check",
        data_dir=data_dir,
        environ={
            "ALICE_KEY": "secret",
            "WEBHOOK_SECRET": "whsec_YSBzZWNyZXQgb2YgdGhlIHdlYmhvb2tz",
            "LINK_SECRET": "the secret of links, which is long",
        },
    )
    assert checked.returncode == 0, checked.stderr


def test_config_check_names_file_line_and_key(data_dir: Path) -> None:
    (data_dir.parent / "framegate.toml").write_text("[server]\nhost = '127.0.0.1'\nport = 'high'\n")
    done = run("config", "check", data_dir=data_dir)
    assert done.returncode == 1
    assert "framegate.toml:3: server.port" in done.stderr


def test_doctor_finds_a_healthy_installation(data_dir: Path) -> None:
    done = run("doctor", data_dir=data_dir)
    assert done.returncode == 0, done.stdout
    assert "libx264" in done.stdout


def test_doctor_reports_a_queue_that_cannot_be_reached(data_dir: Path) -> None:
    done = run("doctor", data_dir=data_dir, environ={"FRAMEGATE_QUEUE__URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 1
    assert "FAIL queue: The job queue can't be reached" in done.stdout


def test_commands_say_that_no_server_runs(data_dir: Path) -> None:
    done = run("workers", data_dir=data_dir)
    assert done.returncode == 1
    assert "framegate serve" in done.stderr


def test_serve_refuses_a_public_address_without_keys(data_dir: Path) -> None:
    done = framegate("serve", "--host", "0.0.0.0", data_dir=data_dir)
    assert done.returncode == 1
    assert "[[auth.keys]]" in done.stderr


def test_serve_refuses_a_port_that_is_taken(server: RunningServer, data_dir: Path) -> None:
    done = framegate("serve", "--port", str(server.port), data_dir=data_dir)
    assert done.returncode == 1
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_separate_worker_process_serves_the_queue(start_server: StartServer) -> None:
    server = start_server(arguments=["--no-worker"], ready="/health")
    assert requests.get(server.url + "/ready", timeout=60).status_code == 200
    assert requests.get(server.url + "/status", timeout=60).status_code == 503
    assert ask_for_video(server, "a boat").status_code == 503, "no worker was ever alive"
    only = ("--device", "cpu", "--models", "preview")
    with running_worker(server.data_dir, *only, environ=clean_environ()) as worker:
        server.wait_until_ready()
        all_succeed(server, [submit(server, "a boat")])
        [first] = workers_of(worker.pid)
        assert server.worker_pids() == [first]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: server.worker_pids() not in ([], [first]), what="another worker")
        assert server.worker_pids() == workers_of(worker.pid)
        all_succeed(server, [submit(server, "a boat")])
        worker.terminate()
        assert worker.wait(60) == 0
    assert server.worker_pids() == []


def test_log_lines_carry_job_and_request_ids(server: RunningServer) -> None:
    body = {"prompt": "a boat", "width": 64, "height": 64, "video_duration": 0.5}
    answer = requests.post(
        f"{server.url}/v1/tasks/video", json=body, headers={"X-Request-ID": "asked-1"}, timeout=60
    )
    job_id = answer.json()["task_id"]

    def lines() -> dict[str, str]:
        found = [line for line in server.log_lines() if line.get("job_id") == job_id]
        return {line["event"]: line["request_id"] for line in found}

    events = {"job_submitted", "request", "job_started", "job_ended"}
    eventually(lambda: events <= lines().keys(), what="the end of the job")
    assert {lines()[event] for event in events} == {"asked-1"}


def test_start_is_quick(start_server: StartServer) -> None:
    """It answers as soon the second time as the first, with a worker that takes jobs.

    A busy machine may take longer for one of them, so one good start of three will do.
    """
    started = time.monotonic()
    server = start_server()
    first, again = time.monotonic() - started, list[float]()
    while len(again) < 3 and min(again, default=math.inf) > max(10.0, first):
        server.stop()
        started = time.monotonic()
        server.restart()
        again.append(time.monotonic() - started)
    assert min(again) < max(10.0, first)
