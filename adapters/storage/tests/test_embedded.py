"""The private Valkey of a data folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from framegate.core.errors import ConfigError
from framegate.storage.embedded import DataFolderLock, EmbeddedValkey, is_running, socket_path
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
