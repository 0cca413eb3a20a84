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

import redis
from msgspec import Struct

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from tests.support.processes import cpu_seconds, roles_of
from tests.support.running import RunningServer

SETTLE_SECONDS = 5.0


class RoleCost(Struct, frozen=True):
    """What the processes of a role use: threads, a share of a core in percent, and bytes of memory."""

    threads: int
    share: float
    memory: int


class IdleCost(Struct, frozen=True):
    """What an idle server uses, by role, and what has arrived at its Valkey meanwhile."""

    roles: Mapping[str, RoleCost]
    calls: Mapping[str, int]
    seconds_with_a_write: int
    bytes_written: int


def models_config(count: int) -> str:
    """Return the config of ``count`` models beside those that are always there."""
    return "".join(f'[models.model-{number}]\nbackend = "preview"\n' for number in range(count))


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


def measure(server: RunningServer, seconds: float, settle: float = SETTLE_SECONDS) -> IdleCost:
    """Return what the server uses within ``seconds`` without requests."""
    time.sleep(settle)
    processes = roles_of(server.process.pid)
    client = connect(socket_url(server.data_dir))
    try:
        calls_before, bytes_before = calls(client), written(client)
        cpu_before = {one.pid: cpu_seconds(one.pid) for those in processes.values() for one in those}
        growing, syncs = bytes_before, 0
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            time.sleep(1)
            size = written(client)
            growing, syncs = size, syncs + (size != growing)
        passed = time.monotonic() - began
        roles = {
            role: RoleCost(
                sum(one.num_threads() for one in those),
                100 * sum(cpu_seconds(one.pid) - cpu_before[one.pid] for one in those) / passed,
                sum(one.memory_info().rss for one in those),
            )
            for role, those in processes.items()
        }
        return IdleCost(roles, difference(calls_before, calls(client)), syncs, written(client) - bytes_before)
    finally:
        client.close()


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
            cost = measure(server, options.seconds)
        finally:
            server.stop()
    for role, of in cost.roles.items():
        use = f"{of.share:6.2f} % of a core {of.memory / 1e6:6.1f} MB of memory"
        print(f"{role:18} {of.threads:4} threads {use}")
    syncs, size = cost.seconds_with_a_write, cost.bytes_written
    print(f"seconds with a write {syncs} of {options.seconds:g}, {size:,} bytes")
    for name, count in cost.calls.items():
        print(f"  {name:24} {count / options.seconds:8.2f} calls a second")


if __name__ == "__main__":
    main()
