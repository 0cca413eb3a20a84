"""Hosts whose clocks are wrong, and a Valkey whose clock is set while jobs wait and run."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import redis
from msgspec.structs import replace

from framegate.core.jobs import Job
from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from tests.support.clocks import HOUR, NewClock
from tests.support.external_valkey import ExternalValkey
from tests.support.listing import files_below
from tests.support.receiving import SECRET, Receiver, StartReceiver, answering
from tests.support.running import RunningServer, clean_environ, eventually, running_worker
from tests.support.sample_jobs import make_job
from tests.support.tasks import all_succeed, results, submit
from tests.support.trouble import MODEL, trouble_environ

StartServer = Callable[..., RunningServer]
LONG_AGO = time.time() - 2 * 86_400
CONFIG = '[queue]\nurl = "{url}"\n[presets]\nlightx2v = {{ video = "trouble" }}\n'
SHORT_RETENTION = '[storage]\nretention = "10s"\n'
WEBHOOKS = (
    '[fetch]\nallow = ["127.0.0.0/8"]\n[webhooks]\nsecret = {{ env = "WEBHOOK_SECRET" }}\nurl = "{url}"\n'
)


def test_only_what_has_the_clock_sees_its_time(new_clock: NewClock, tmp_path: Path) -> None:
    clock = new_clock()
    valkey = ExternalValkey(tmp_path / "valkey", environ=clock.environ)
    client = redis.Redis.from_url(valkey.url)
    try:
        for ahead in (0.0, HOUR, -HOUR):
            clock.shift(ahead)
            seconds, _ = client.time()
            assert -1 <= time_of_a_process(clock.environ) - seconds < 10
            assert -1 <= time_of_a_process({}) + ahead - seconds < 10
    finally:
        client.close()
        valkey.kill()


def time_of_a_process(environ: Mapping[str, str]) -> float:
    program = [sys.executable, "-c", "import time; print(time.time())"]
    done = subprocess.run(program, env={**os.environ, **environ}, check=True, capture_output=True, timeout=60)
    return float(done.stdout)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The folder of the troublesome model, where it looks for what it waits for."""
    return tmp_path / "plugin"


def test_an_api_host_two_hours_ahead_removes_nothing_that_is_fresh(
    start_server: StartServer, valkey: ExternalValkey, plugin: Path, tmp_path: Path, new_clock: NewClock
) -> None:
    """Neither results, nor files that no record names yet, nor the folder in which a worker works."""
    environ = trouble_environ(plugin)
    config = CONFIG.format(url=valkey.url)
    (tmp_path / "worker.toml").write_text(config)
    files, work = (tmp_path / "data" / name for name in ("files", "work"))
    made, running = trouble_job("made", "draw 1"), trouble_job("running", "until the-host-has-looked")
    with running_worker(
        tmp_path / "data", "--config", tmp_path / "worker.toml", environ=clean_environ(environ)
    ):
        asyncio.run(submit_to(valkey.url, made, running))
        eventually(lambda: files_below(files / "results" / "made"), what="a result")
        [scratch] = eventually(lambda: list(work.glob("job-2-*")), what="the running job's folder")
        old, fresh = (files / "results" / name / "1-0123abcd-0.mp4" for name in ("old", "fresh"))
        for path in (old, fresh):
            path.parent.mkdir()
            path.write_bytes(b"not reported yet")
        os.utime(old, (LONG_AGO, LONG_AGO))
        ahead = start_server(
            config=config, environ={**environ, **new_clock(2 * HOUR).environ}, arguments=["--no-worker"]
        )
        eventually(lambda: not old.exists(), what="the end of an old orphan")
        assert results(ahead, "made")
        assert fresh.exists()
        assert scratch.exists()
        (plugin / "the-host-has-looked").touch()
        eventually(lambda: results(ahead, "running"), what="the running job's result")
        states = {job["id"]: (job["state"], job["attempt"]) for job in ahead.json("jobs", "list")}
        assert states == {"made": ("succeeded", 1), "running": ("succeeded", 1)}


def trouble_job(job_id: str, prompt: str) -> Job:
    """Return a job for the troublesome model, as if an API had been asked for it."""
    job = make_job(job_id, queue=MODEL.queue, served_by=MODEL.id)
    return replace(job, shots=tuple(replace(shot, prompt=prompt) for shot in job.shots))


async def submit_to(url: str, *jobs: Job) -> None:
    store = ValkeyJobStore(connect_async(url))
    for job in jobs:
        await store.submit(job, limits=Limits())
    await store.close()


def test_valkeys_clock_goes_forward_by_an_hour_and_back(
    start_server: StartServer,
    start_receiver: StartReceiver,
    plugin: Path,
    tmp_path: Path,
    new_clock: NewClock,
) -> None:
    """Live workers keep their jobs, a dead one's runs again soon, files are removed and webhooks go out."""
    clock, receiver = new_clock(), start_receiver(answering(503))
    valkey = ExternalValkey(tmp_path / "valkey", environ=clock.environ)
    client = connect(valkey.url)
    try:
        server = start_server(
            config=CONFIG.format(url=valkey.url) + SHORT_RETENTION + WEBHOOKS.format(url=receiver.url),
            arguments=["--workers", "2"],
            environ={**trouble_environ(plugin), "WEBHOOK_SECRET": SECRET},
        )
        kept = submit(server, "until clock-is-right")
        pid_of_worker(server, kept)
        clock.shift(HOUR)
        eventually(lambda: leased_until(client, kept) > now(client), what="a lease by the new time")
        eventually(lambda: len(server.worker_pids()) == 2, what="both workers")

        made = submit(server, "draw 1")
        all_succeed(server, [made])
        eventually(lambda: receiver.received, what="an event that its receiver refuses")
        abandoned = submit(server, "until clock-is-right")
        dead = pid_of_worker(server, abandoned)
        assert results(server, made), "nothing has become due yet"
        os.kill(dead, signal.SIGKILL)
        clock.shift(0.0)
        receiver.respond = answering(200)
        refused = len(receiver.received)

        eventually(lambda: attempts(server)[abandoned] == 2, what="another attempt at the dead worker's job")
        assert attempts(server)[kept] == 1
        eventually(lambda: dead not in server.worker_pids(), what="a list without the dead worker")
        (plugin / "clock-is-right").touch()
        all_succeed(server, [kept, abandoned])
        assert attempts(server) == {kept: 1, abandoned: 2, made: 1}
        eventually(lambda: not results(server), what="the end of all results")
        eventually(lambda: told(receiver, refused) == {kept, abandoned, made}, what="every event")
    finally:
        client.close()
        valkey.kill()


def pid_of_worker(server: RunningServer, task: str) -> int:
    """Return the process that runs the task, once it does."""

    def found() -> int:
        return next((worker["pid"] for worker in server.json("workers") if worker["job"] == task), 0)

    return eventually(found, what=f"the worker of {task}")


def now(client: redis.Redis) -> float:
    seconds, _ = client.time()
    return seconds


def leased_until(client: redis.Redis, task: str) -> float:
    return client.zscore(f"{PREFIX}leases", task) or 0.0


def attempts(server: RunningServer) -> dict[str, int]:
    return {job["id"]: job["attempt"] for job in server.json("jobs", "list")}


def told(receiver: Receiver, since: int) -> set[str]:
    """Return the jobs of whose end the receiver was told, but for the first requests."""
    events = (json.loads(received.body) for received in receiver.received[since:])
    return {event["data"]["id"] for event in events}
