"""What can't work, or would lose jobs, is said at the start: by servers, workers and `framegate doctor`."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import redis

from tests.support.external_valkey import ExternalValkey, cluster_options
from tests.support.in_process import Done, run_command
from tests.support.running import RunningServer, clean_environ, eventually, framegate, running_worker
from tests.support.tasks import all_succeed, submit

StartServer = Callable[..., RunningServer]


def assert_refused(reason: str, *, config: Path, data_dir: Path, names: tuple[str, ...]) -> None:
    for name in names:
        done = framegate(name, "--config", config, data_dir=data_dir)
        assert done.returncode == 1, name
        assert reason in (done.stdout if name == "doctor" else done.stderr), name
        assert "Traceback" not in done.stderr


@pytest.fixture
def config(tmp_path: Path, queue_url: str) -> Path:
    file = tmp_path / "framegate.toml"
    file.write_text(f'[queue]\nurl = "{queue_url}"\n')
    return file


def test_a_server_that_evicts_jobs(valkey: ExternalValkey, config: Path, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", 2**30)
    reason = "maxmemory-policy is allkeys-lru"
    assert_refused(reason, config=config, data_dir=tmp_path / "data", names=("serve", "worker", "doctor"))


def test_a_user_who_may_not_publish(valkey: ExternalValkey, config: Path, tmp_path: Path) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], reset_channels=True)
    assert_refused("PUBLISH", config=config, data_dir=tmp_path / "data", names=("serve", "worker", "doctor"))


def test_two_data_folders_on_one_queue(
    start_server: StartServer, valkey: ExternalValkey, config: Path, tmp_path: Path
) -> None:
    server = start_server(config=config.read_text())
    reason = "isn't the storage that this queue's other hosts use"
    assert_refused(reason, config=config, data_dir=tmp_path / "other", names=("serve", "worker", "doctor"))
    shared = framegate("doctor", "--config", config, data_dir=server.data_dir)
    assert shared.returncode == 0, shared.stdout
    # With a prefix of its own the same server has room for both.
    config.write_text(f'[queue]\nurl = "{valkey.url}"\nprefix = "other:"\n')
    second = start_server("other", config=config.read_text())
    for host in (server, second):
        task = submit(host, "a boat")
        all_succeed(host, [task])
        assert [job["id"] for job in host.json("jobs", "list")] == [task]


def test_a_server_that_appears_later_is_checked_then(start_server: StartServer, tmp_path: Path) -> None:
    """API host and worker wait for it, and end once it turns out that it can't be used."""
    elsewhere = ExternalValkey(tmp_path / "valkey", options=cluster_options())
    elsewhere.kill()
    server = start_server(
        config=f'[queue]\nurl = "{elsewhere.url}"\n', arguments=["--no-worker"], ready="/health"
    )
    arguments, log = ("--config", server.config), tmp_path / "worker.log"
    with running_worker(server.data_dir, *arguments, environ=server.environ, log=log) as worker:
        eventually(lambda: "valkey_unreachable" in log.read_text(), what="the worker's patience")
        try:
            elsewhere.start()
            assert server.process.wait(60) == 1
            assert worker.wait(60) == 1
        finally:
            elsewhere.kill()
    for text in (server.log_text(), log.read_text()):
        assert "this server runs in cluster mode" in text
        assert "Traceback" not in text


def test_a_wrong_password_is_named_everywhere_and_not_shown(tmp_path: Path, config: Path) -> None:
    valkey = ExternalValkey(tmp_path / "locked", password="right-horse")
    try:
        config.write_text(f'[queue]\nurl = "redis://:wrong-horse@127.0.0.1:{valkey.port}/0"\n')
        where = ("--config", config, "--data-dir", tmp_path / "data")
        for command in (
            ("serve",),
            ("worker",),
            ("doctor",),
            ("jobs", "list"),
            ("keys", "list"),
            ("workers",),
        ):
            done: Done | CompletedProcess[str]
            if command[0] in ("serve", "worker"):
                done = framegate(*command, *where[:2], data_dir=tmp_path / "data")
            else:
                done = run_command([*command, *where], environ=clean_environ(), cwd=tmp_path)
            assert done.returncode == 1
            assert "the server refuses the user name and password of queue.url" in done.stderr + done.stdout
            assert "-horse" not in done.stderr + done.stdout
    finally:
        valkey.kill()
