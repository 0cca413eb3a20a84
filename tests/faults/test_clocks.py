"""Hosts whose clocks are wrong, and a Valkey whose clock is set while jobs wait and run."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import redis

from tests.support.clocks import HOUR, NewClock
from tests.support.external_valkey import ExternalValkey


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
