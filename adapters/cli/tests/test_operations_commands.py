"""``framegate workers``, ``pause``, ``resume`` and ``usage``, as they print."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import redis
from msgspec.structs import replace

from framegate.cli.commands.pause import pause
from framegate.core.ports import Limits, LoadedState, ModelLoad, WorkerInfo
from framegate.core.types import Artifact, MediaKind
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.in_process import Done, run_command
from tests.support.running import clean_environ
from tests.support.sample_jobs import make_job
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]

WORKER = WorkerInfo("id-1", "gpu1", 11, "cuda:0", "0.2", ("preview",), 1_700_000_000.0)
VIDEO = Artifact(MediaKind.VIDEO, "results/a/1-0.mp4", "video/mp4", 1200, 64, 64)


class CommandLine:
    """Runs commands against the Valkey of the tests."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._environ = folder, clean_environ({"FRAMEGATE_QUEUE__URL": url})

    def run(self, *arguments: str) -> Done:
        where = ("--data-dir", str(self._folder / "data"))
        return run_command([*arguments, *where], environ=self._environ, cwd=self._folder)

    def printed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.printed(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        assert not done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def framegate(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> Iterator[CommandLine]:
    second = replace(WORKER, id="id-2", pid=12, device="cuda:1", job="busy-job", video_encoder="h264_nvenc")
    for info in (WORKER, second):
        WorkerStore(client, info.id).heartbeat([], info=info)
    yield CommandLine(tmp_path, valkey.url)
    client.flushall()


def test_workers_are_listed_with_their_states(framegate: CommandLine) -> None:
    lines = framegate.printed("workers").splitlines()
    assert lines[0].split() == ["NAME", "STATE", "PID", "SINCE", "JOB", "ENCODER", "MODELS"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["gpu1/cuda:0", "idle", "11"],
        ["gpu1/cuda:1", "busy", "12"],
    ]
    assert [line.split()[-2:] for line in lines[1:]] == [["-", "preview"], ["h264_nvenc", "preview"]]
    found = framegate.json("workers")
    assert [(worker["name"], worker["id"], worker["job"]) for worker in found] == [
        ("gpu1/cuda:0", "id-1", ""),
        ("gpu1/cuda:1", "id-2", "busy-job"),
    ]


def test_a_host_is_drained_and_resumed(framegate: CommandLine, client: redis.Redis) -> None:
    assert framegate.printed("workers", "drain", "gpu1").splitlines() == [
        "gpu1/cuda:0 is drained.",
        "gpu1/cuda:1 ends its job busy-job, and takes no more.",
    ]
    states = {worker["name"]: worker["state"] for worker in framegate.json("workers")}
    assert states == {"gpu1/cuda:0": "drained", "gpu1/cuda:1": "draining"}
    assert "resume gpu1." in framegate.refused("workers", "resume", "gpu1/cuda:1")
    for worker in ("id-1", "id-2"):
        WorkerStore(client, worker).withdraw()
    assert "gpu1 is drained since" in framegate.printed("workers")
    assert "gpu1 is no longer drained" in framegate.printed("workers", "resume", "gpu1")
    assert framegate.printed("workers") == "No worker is alive.\n"
    assert "No live worker is called 'gpu1'." in framegate.refused("workers", "resume", "gpu1")


def test_one_worker_is_drained(framegate: CommandLine) -> None:
    [drained] = framegate.json("workers", "drain", "gpu1/cuda:0")
    assert (drained["state"], drained["drained_by"]) == ("drained", ["gpu1/cuda:0"])
    assert "Did you mean gpu1/cuda:" in framegate.refused("workers", "drain", "gpu1/cuda:9")
    assert framegate.printed("workers", "resume", "gpu1/cuda:0") == "gpu1/cuda:0 takes jobs.\n"


def test_options_before_the_subcommand_are_its_own(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    done = run_command(
        ["workers", "--data-dir", str(tmp_path / "none"), "drain", "gpu1"],
        environ=clean_environ({}),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr


def test_a_model_is_paused_by_any_of_its_names(framegate: CommandLine, client: redis.Redis) -> None:
    assert framegate.printed("pause", "sora-2") == (
        "preview is paused; its jobs wait until `framegate resume preview`.\n"
    )
    assert client.hkeys("fg:paused") == ["preview"]
    assert framegate.json("resume", "preview")["paused_at"] is None
    assert client.hkeys("fg:paused") == []
    assert "Did you mean preview?" in framegate.refused("pause", "previw")


async def use(url: str, client: redis.Redis) -> str:
    """Let alice submit two jobs, and nobody one; the first runs for 90 s. Return today's date."""
    store, worker = ValkeyJobStore(connect_async(url)), WorkerStore(client, "w")
    for name, owner in (("a", "alice"), ("b", "alice"), ("c", "")):
        await store.submit(make_job(name, owner=owner, input_bytes=1000), limits=Limits())
    job = worker.claim("q-test", ["test"])
    assert job is not None
    client.hset(f"fg:job:{job.id}", "started_at", str((job.started_at or 0) - 90))
    worker.succeed(job, (VIDEO,))
    today = await store.usage.today()
    await store.close()
    return today.isoformat()


def test_usage_adds_up(framegate: CommandLine, valkey: EmbeddedValkey, client: redis.Redis) -> None:
    assert framegate.printed("usage") == "Nothing was used.\n"
    today = asyncio.run(use(valkey.url, client))
    lines = [line.split() for line in framegate.printed("usage", "--days", "2").splitlines()]
    assert lines[0] == ["DAY", "KEY", "JOBS", "SUCCEEDED", "FAILED", "CANCELLED", "GPU", "SECONDS", "BYTES"]
    jobs = {line[1]: line for line in lines[1:-1]}
    assert jobs.keys() == {"-", "alice"}
    assert [line[0] for line in jobs.values()] == [today, today]
    assert (jobs["-"][2], jobs["alice"][2]) == ("1", "2")
    assert lines[-1][:5] == ["total", "3", "1", "0", "0"]
    assert lines[-1][5].startswith("90.")
    assert lines[-1][6] == "4,200"
    report = framegate.json("usage", "--day", today, "--key", "alice")
    assert [(item["key"], item["day"], item["input_bytes"]) for item in report["items"]] == [
        ("alice", today, 2000)
    ]
    assert [item["key"] for item in framegate.json("usage", "--key", "")["items"]] == [""]
    assert framegate.printed("usage", "--day", "2001-01-01") == "Nothing was used.\n"


def test_wrong_options_of_usage(framegate: CommandLine) -> None:
    assert "one of --day and --days" in framegate.refused("usage", "--day", "2030-01-01", "--days", "3")
    assert "2030-13-01" in framegate.refused("usage", "--day", "2030-13-01")
    assert "400" in framegate.refused("usage", "--days", "401")


def test_models_are_loaded_and_unloaded(framegate: CommandLine, client: redis.Redis) -> None:
    loads = {"preview": ModelLoad(LoadedState.LOADED)}
    newer = replace(WORKER, id="id-3", host="gpu2", carried_out={}, loads=loads)
    WorkerStore(client, "id-3").heartbeat([], info=newer)
    assert framegate.printed("models", "load", "sora-2").splitlines() == [
        "gpu1/cuda:0: runs an earlier version, which loads preview with its first job and keeps it.",
        "gpu1/cuda:1: runs an earlier version, which loads preview with its first job and keeps it.",
        "gpu2/cuda:0: loads preview as soon as it runs no job.",
    ]
    WorkerStore(client, "id-3").withdraw()
    status = framegate.json("models", "unload", "preview")
    assert (status["id"], status["load_requested_at"], len(status["on_workers"])) == ("preview", None, 2)
    assert "There is no model 'previw'. Did you mean preview?" in framegate.refused(
        "models", "load", "previw"
    )
    for worker in ("id-1", "id-2"):
        WorkerStore(client, worker).withdraw()
    assert "No live worker serves the model preview" in framegate.refused("models", "load", "preview")
    assert framegate.printed("models", "unload", "preview") == "No live worker serves preview.\n"
    assert "--url is for listing" in framegate.refused("models", "--url", "http://a", "load", "preview")
    for option in (("--memory",), ("--gpu-memory", "48")):
        assert f"{option[0]} is for listing" in framegate.refused("models", *option, "load", "preview")
    assert framegate.json("models")[0]["name"] == "preview"


def test_models_are_completed() -> None:
    [argument] = pause.params[:1]
    found = argument.shell_complete(click.Context(pause), "prev")
    assert [item.value for item in found] == ["preview"]
