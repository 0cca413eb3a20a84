"""What an idle installation costs: ``python -m tests.benchmarks.idle --models 100 --seconds 30``.

Starts ``framegate serve`` with a worker that has as many models, leaves it alone, and prints for each process
its threads and its share of a CPU core, and for Valkey the calls and writes that arrived meanwhile.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import psutil
import redis

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from tests.support.running import RunningServer

SETTLE_SECONDS = 5.0
ROLES = {"valkey": "valkey-server", "heartbeat process": "heartbeat.process", "worker": "worker"}


def models_config(count: int) -> str:
    """Return the config of ``count`` models beside those that are always there."""
    return "".join(f'[models.model-{number}]\nbackend = "preview"\n' for number in range(count))


def roles(server: RunningServer) -> dict[str, psutil.Process]:
    """Return the server's processes by their role."""
    process = psutil.Process(server.process.pid)
    found = {"api": process}
    for child in process.children(recursive=True):
        command = " ".join(child.cmdline())
        for role, mark in ROLES.items():
            if role not in found and mark in command:
                found[role] = child
                break
    return found


def calls(client: redis.Redis) -> dict[str, int]:
    """Return how often each command was called, those inside scripts included."""
    stats = cast("dict[str, dict[str, Any]]", client.info("commandstats"))
    return {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}


def written(client: redis.Redis) -> int:
    """Return how many bytes Valkey has appended to its log, which it syncs after each second with a write."""
    return int(client.info("persistence")["aof_current_size"])


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what has been called more often, the most frequent first."""
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    return dict(sorted(((name, n) for name, n in more.items() if n), key=lambda each: -each[1]))


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "data", config=models_config(options.models))
        try:
            server.wait_until_ready()
            measure(server, options.seconds)
        finally:
            server.stop()


def measure(server: RunningServer, seconds: float) -> None:
    """Print what the idle server does within ``seconds``."""
    time.sleep(SETTLE_SECONDS)
    processes = roles(server)
    client = connect(socket_url(server.data_dir))
    calls_before, bytes_before = calls(client), written(client)
    cpu_before = {role: sum(process.cpu_times()[:2]) for role, process in processes.items()}
    growing, syncs = bytes_before, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        size = written(client)
        growing, syncs = size, syncs + (size != growing)
    for role, process in processes.items():
        share = 100 * (sum(process.cpu_times()[:2]) - cpu_before[role]) / seconds
        print(f"{role:18} {process.num_threads():4} threads {share:6.2f} % of a core")
    print(f"seconds with a write {syncs} of {seconds:g}, {written(client) - bytes_before:,} bytes")
    for name, count in difference(calls_before, calls(client)).items():
        print(f"  {name:24} {count / seconds:8.2f} calls a second")
    client.close()


if __name__ == "__main__":
    main()
