"""Valkey is away, comes back, or has lost its last second: callers are asked to retry, workers go on."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis
import requests

from framegate.storage.jobs.worker_store import LEASE_SECONDS, SILENCE_SECONDS
from tests.support.external_valkey import ExternalValkey
from tests.support.running import RunningServer, eventually, framegate, running_worker, workers_of
from tests.support.tasks import all_succeed, ask_for_video, download, results, started, status, submit
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]
SOON = 30.0
"""Seconds in which a call is refused on the busiest machine, but not if it were tried again and again."""
CONFIG = '[queue]\nurl = "{url}"\n[presets]\nlightx2v = {{ video = "trouble" }}\n'


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The folder of the troublesome model, where it looks for what it waits for."""
    return tmp_path / "plugin"


@pytest.fixture
def server(start_server: StartServer, valkey: ExternalValkey, plugin: Path) -> RunningServer:
    return start_server(config=CONFIG.format(url=valkey.url), environ=trouble_environ(plugin))


def test_callers_are_told_to_come_back_and_the_running_job_is_reported_later(
    server: RunningServer, valkey: ExternalValkey, plugin: Path
) -> None:
    task = submit(server, "until valkey-is-away")
    started(server, task)
    valkey.kill()
    began = time.monotonic()
    for refused in (
        ask_for_video(server, "draw 1"),
        requests.get(f"{server.url}/v1/tasks/{task}/status", timeout=60),
    ):
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
    assert time.monotonic() - began < SOON
    assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
    assert requests.get(f"{server.url}/ready", timeout=60).status_code == 503
    # The worker finishes what it runs, and keeps the result until it can report it.
    (plugin / "valkey-is-away").touch()
    eventually(lambda: results(server, task), what="the result while nobody can be told")
    valkey.start()
    all_succeed(server, [task])
    [job] = server.json("jobs", "list")
    assert job["attempt"] == 1
    assert download(server, task)
    all_succeed(server, [submit(server, "draw 1")])


def test_a_worker_that_is_stopped_during_an_outage_begins_no_other_job(
    start_server: StartServer, valkey: ExternalValkey, plugin: Path, tmp_path: Path
) -> None:
    config = CONFIG.format(url=valkey.url) + '[server]\nshutdown_grace = "1h"\n'
    environ = trouble_environ(plugin)
    api = start_server(config=config, arguments=["--no-worker"], environ=environ, ready="/health")
    log = tmp_path / "worker.log"
    start_worker = partial(running_worker, api.data_dir, "--config", api.config, environ=api.environ, log=log)
    with start_worker() as worker:
        api.wait_until_ready()
        first, second = submit(api, "until valkey-is-away"), submit(api, "until it-is-run")
        started(api, first)
        valkey.kill()
        (plugin / "valkey-is-away").touch()
        eventually(partial(results, api, first), what="the result while nobody can be told")
        eventually(lambda: "valkey_unreachable" in log.read_text(), what="a try to report it")
        worker.terminate()
        eventually(lambda: "worker_stopping" in log.read_text(), what="the stop")
        valkey.start()
        worker.wait(60)
    assert log.read_text().count('"event": "job_started"') == 1
    all_succeed(api, [first])
    waiting = api.json("jobs", "show", second)
    assert (waiting["state"], waiting["attempt"]) == ("queued", 0)


def test_what_happened_in_the_lost_second_happens_again(
    server: RunningServer, valkey: ExternalValkey, plugin: Path
) -> None:
    """A job that had ended is made once more, and one that had been claimed returns to the queue.

    The latter's worker is notified that it has lost the job, and claims it again as the same attempt.
    """
    first, second = submit(server, "until first-may-end"), submit(server, "until second-may-end")
    started(server, first)
    before = valkey.snapshot()
    (plugin / "first-may-end").touch()
    started(server, second)
    valkey.restart_from(before)
    (plugin / "second-may-end").touch()
    all_succeed(server, [first, second])
    for task in (first, second):
        assert download(server, task)
    attempts = {job["id"]: job["attempt"] for job in server.json("jobs", "list")}
    assert attempts[first] in (1, 2)  # as its worker asks for it again before or after the lease is over
    assert attempts[second] == 1
    eventually(lambda: len(results(server, second)) == 1, what="a single result")
    all_succeed(server, [submit(server, "draw 1")])


def test_an_outage_of_more_than_a_lease_costs_no_attempt(
    start_server: StartServer, valkey: ExternalValkey, plugin: Path
) -> None:
    server = start_server(
        config=CONFIG.format(url=valkey.url), arguments=["--workers", "3"], environ=trouble_environ(plugin)
    )
    tasks = [submit(server, "until the-lease-is-over") for _ in range(3)]
    eventually(
        lambda: [status(server, task)["status"] for task in tasks] == ["running"] * 3, what="three at once"
    )
    valkey.kill()
    time.sleep(LEASE_SECONDS + SILENCE_SECONDS)
    valkey.start()
    (plugin / "the-lease-is-over").touch()
    all_succeed(server, tasks)
    assert [job["attempt"] for job in server.json("jobs", "list")] == [1, 1, 1]


REFUSALS = {
    "memory is full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "it is a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "replicas are missing": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
}


def execute(client: redis.Redis, command: str) -> None:
    client.execute_command(command)  # type: ignore[no-untyped-call]  # untyped in redis-py


def test_writes_that_are_refused(server: RunningServer, valkey: ExternalValkey, plugin: Path) -> None:
    """For each reason that Valkey has, one after the other on one server."""
    client = redis.Redis.from_url(valkey.url)
    for reason, (begin, end) in REFUSALS.items():
        logged = len(server.log_text())
        gate = reason.replace(" ", "-")
        task = submit(server, f"until {gate}")
        started(server, task)
        execute(client, begin)
        while not images_say_that_writes_are_refused(server):
            # On a busy machine the worker's announcement, which it can't renew meanwhile, has expired.
            execute(client, end)
            eventually(server.worker_pids, what="the worker's announcement")
            execute(client, begin)
        assert_refusal(ask_for_video(server, "draw 1"))
        (plugin / gate).touch()
        eventually(partial(results, server, task), what="the result while nobody can be told")
        eventually(partial(_refusal_is_logged, server, logged), what="the worker's patience")
        time.sleep(LEASE_SECONDS)
        execute(client, end)
        all_succeed(server, [task])
        assert server.json("jobs", "show", task)["attempt"] == 1, reason
        all_succeed(server, [submit(server, "draw 1")])
    client.close()
    assert "Traceback" not in server.log_text()
    assert '"exception"' not in server.log_text()


def _refusal_is_logged(server: RunningServer, since: int) -> bool:
    return "valkey_refuses" in server.log_text()[since:]


def assert_refusal(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert "takes no writes right now" in answer.text


def images_say_that_writes_are_refused(server: RunningServer) -> bool:
    """Return False if there was no worker alive, which images need before anything is written."""
    drawing = {"prompt": "a boat", "size": "256x256"}
    answer = requests.post(f"{server.url}/v1/images/generations", json=drawing, timeout=60)
    if answer.status_code == 503 and "No worker" in answer.text:
        return False
    assert_refusal(answer)
    return True


def test_nobody_waits_long_for_a_valkey_that_hangs(start_server: StartServer, valkey: ExternalValkey) -> None:
    """A call is answered and workers end while it hangs; nobody waits until it goes on."""
    server = start_server(config=f'[queue]\nurl = "{valkey.url}"\n[server]\nshutdown_grace = "2s"\n')

    with ExitStack() as running:
        arguments = (server.data_dir, "--config", server.config)
        idle = running.enter_context(running_worker(*arguments, environ=server.environ))
        eventually(lambda: set(workers_of(idle.pid)) & set(server.worker_pids()), what="the second worker")
        valkey.suspend()
        running.callback(valkey.resume)
        starting = running.enter_context(running_worker(*arguments, environ=server.environ))
        began = time.monotonic()
        for _ in range(3):
            asked_at = time.monotonic()
            ready = requests.get(f"{server.url}/ready", timeout=60)
            assert time.monotonic() - asked_at < 1
            assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
            assert "The job queue hasn't answered" in ready.json()["reason"]
        assert ask_for_video(server, "a boat").status_code == 503
        assert time.monotonic() - began < SOON
        for worker in (idle, starting):
            worker.terminate()
            worker.wait(60)
    all_succeed(server, [submit(server, "a boat")])


def test_what_works_behind_the_api_outlives_an_error_that_nobody_foresaw(
    start_server: StartServer, valkey: ExternalValkey
) -> None:
    client = redis.Redis.from_url(valkey.url)
    client.set("fg:finished", "no sorted set")
    server = start_server(config=f'[queue]\nurl = "{valkey.url}"\n[storage]\nretention = "1s"\n')
    eventually(lambda: "background_task_failed" in server.log_text(), what="what the log says")
    client.delete("fg:finished")
    client.close()
    task = submit(server, "a boat")
    eventually(lambda: "files_removed" in server.log_text(), what="retention")
    assert not results(server, task)


def test_a_database_that_there_is_not(valkey: ExternalValkey, tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(f'[queue]\nurl = "{valkey.url.removesuffix("0")}99"\n')
    for name in ("serve", "worker"):
        done = framegate(name, "--config", config, data_dir=tmp_path / "data")
        assert done.returncode == 1
        assert "queue.url: the server rejected the connection: DB index is out of range." in done.stderr
        assert "Traceback" not in done.stderr


def test_a_server_tries_on_until_its_valkey_starts_again(start_server: StartServer) -> None:
    """As on a full disk: it ends, and doesn't start until there is room."""
    server = start_server()
    (manifest,) = (server.data_dir / "valkey").rglob("*.manifest")
    kept = manifest.read_text()
    manifest.write_text("nothing that it understands")
    os.kill(server.pid_of("valkey_started"), signal.SIGKILL)

    def failures() -> int:
        return sum(line["event"] == "valkey_start_failed" for line in server.log_lines())

    eventually(lambda: failures() >= 2, what="two starts in vain")
    assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
    assert requests.get(f"{server.url}/ready", timeout=60).status_code == 503
    manifest.write_text(kept)
    server.wait_until_ready()
    assert "Traceback" not in server.log_text()
