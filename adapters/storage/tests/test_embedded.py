"""The private Valkey of a data folder."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from framegate.core.errors import ConfigError, Unavailable
from framegate.storage import embedded
from framegate.storage.connections import connect_once, outages_as_unavailable
from framegate.storage.embedded import (
    Condition,
    DataFolderLock,
    EmbeddedValkey,
    find_server,
    is_running,
    look,
    socket_path,
)
from tests.support.running import eventually


def test_keeps_what_was_written_over_kill_and_restart(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    client = redis.Redis.from_url(valkey.url)
    client.set("kept", "yes")
    assert is_running(data_dir)
    # The append-only file is synced every second; what a killed process wrote is with the kernel already.
    assert valkey.pid
    os.kill(valkey.pid, signal.SIGKILL)
    valkey.stop()
    assert not is_running(data_dir)
    valkey.start()
    assert client.get("kept") == b"yes"
    client.close()
    valkey.stop()


def test_answers_on_no_network(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    client = redis.Redis.from_url(valkey.url, decode_responses=True)
    assert client.config_get("port")["port"] == "0"
    assert socket_path(data_dir).stat().st_mode & 0o077 == 0
    client.close()
    valkey.stop()


def test_ends_with_the_process_that_started_it(data_dir: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path;"
        "from framegate.storage.embedded import EmbeddedValkey;"
        "EmbeddedValkey(Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(data_dir)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        # structlog may print before it
        while parent.stdout.readline() not in (b"up\n", b""):
            pass
        assert is_running(data_dir)
        parent.kill()
    if sys.platform == "linux":
        eventually(lambda: not is_running(data_dir), what="the end of Valkey")


def test_takes_over_from_an_orphan(data_dir: Path) -> None:
    orphan = EmbeddedValkey(data_dir)
    orphan.start()
    client = redis.Redis.from_url(orphan.url)
    client.set("kept", "yes")
    successor = EmbeddedValkey(data_dir)
    successor.start()
    assert successor.pid != orphan.pid
    assert client.get("kept") == b"yes"
    client.close()
    orphan.stop()
    assert is_running(data_dir)
    successor.stop()


def test_long_paths_still_get_a_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep" * 30)
    assert len(str(socket_path(data_dir))) < 104
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    assert is_running(data_dir)
    valkey.stop()


def test_one_process_at_a_time_owns_a_data_folder(data_dir: Path) -> None:
    lock = DataFolderLock(data_dir)
    with pytest.raises(ConfigError, match="Another framegate runs with the data folder"):
        DataFolderLock(data_dir)
    lock.release()
    DataFolderLock(data_dir).release()


KEYS, KEY_SECONDS = 200, 0.01
LOADING_SECONDS = KEYS * KEY_SECONDS


@pytest.fixture
def slow_to_load(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedValkey:
    """A stopped Valkey that takes `LOADING_SECONDS` to load, and may be silent for half of that."""
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        client.mset({f"key{number}": "x" * 4096 for number in range(KEYS)})
        client.bgrewriteaof()
        eventually(lambda: client.info("persistence")["aof_rewrites"] == 1, what="the file's new beginning")
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], what="its end")
    valkey.stop()
    program = tmp_path / "slow-valkey"
    delay = f"--key-load-delay {KEY_SECONDS * 1e6:.0f} --loading-process-events-interval-bytes 1024"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(find_server())} "$@" {delay}\n')
    program.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server", lambda: str(program))
    monkeypatch.setattr(embedded, "START_SECONDS", LOADING_SECONDS / 2)
    monkeypatch.setattr(embedded, "LOADING_LOG_SECONDS", 0.2)
    return valkey


def test_a_server_that_loads_for_long_is_waited_for(
    slow_to_load: EmbeddedValkey, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    slow_to_load.start()
    assert time.monotonic() - began > LOADING_SECONDS * 0.8
    with redis.Redis.from_url(slow_to_load.url) as client:
        assert client.dbsize() == KEYS
    slow_to_load.stop()
    assert capsys.readouterr().out.count("valkey_loading") > 1


def test_a_server_that_loads_counts_as_running_and_others_are_told(
    slow_to_load: EmbeddedValkey, data_dir: Path
) -> None:
    slow_to_load.launch()
    eventually(lambda: look(data_dir) == Condition.LOADING, what="the beginning")
    assert is_running(data_dir)
    with (
        connect_once(slow_to_load.url) as client,
        pytest.raises(Unavailable, match="The job queue is loading its data; try again shortly"),
        outages_as_unavailable(),
    ):
        client.get("key1")
    slow_to_load.stop()
    assert look(data_dir) == Condition.SILENT


def test_a_server_that_ends_while_it_loads_is_not_waited_for(slow_to_load: EmbeddedValkey) -> None:
    slow_to_load.launch()
    assert slow_to_load.pid
    os.kill(slow_to_load.pid, signal.SIGKILL)
    eventually(lambda: slow_to_load.ended, what="its end")
    with pytest.raises(Unavailable, match="does not start"):
        slow_to_load.is_up()


def test_a_successor_ends_an_orphan_that_is_still_loading(
    slow_to_load: EmbeddedValkey, data_dir: Path
) -> None:
    slow_to_load.launch()
    eventually(lambda: look(data_dir) == Condition.LOADING, what="the beginning")
    orphan = slow_to_load.pid
    successor = EmbeddedValkey(data_dir)
    successor.start()
    assert successor.pid != orphan
    with redis.Redis.from_url(successor.url) as client:
        assert client.dbsize() == KEYS
    successor.stop()
    slow_to_load.stop()
