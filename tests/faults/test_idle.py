"""What a server with many models costs while nothing happens."""

import time
from collections.abc import Callable
from typing import cast

import psutil
import redis

from framegate.storage.connections import connect
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.records import PREFIX
from tests.support.running import RunningServer, eventually

StartServer = Callable[..., RunningServer]

MODELS = 100
SECONDS = 8.0


def test_a_hundred_models_cost_little_while_idle(start_server: StartServer) -> None:
    """`tests.benchmarks.idle` measures the share of a core; threads and writes are the same anywhere."""
    config = "".join(f'[models.model-{number}]\nbackend = "preview"\n' for number in range(MODELS))
    server = start_server(config=config)
    client = connect(socket_url(server.data_dir))
    try:
        [worker] = eventually(server.worker_pids, what="the worker")
        assert psutil.Process(worker).num_threads() < 20
        _wait_until_quiet(client)
        calls, written = _calls(client), _written(client)
        seconds_with_a_write = 0
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(0.5)
            now = _written(client)
            seconds_with_a_write += now != written
            written = now
        assert seconds_with_a_write <= SECONDS / 2
        more = {name: count - calls.get(name, 0) for name, count in _calls(client).items()}
        assert more["evalsha"] < 5 * SECONDS, more
        assert more.get("blpop", 0) <= 1, more

        client.client_kill_filter(_type="pubsub")
        assert eventually(server.worker_pids, what="the worker that listens again") == [worker]
        server.kill_all("worker_started")
        eventually(
            lambda: worker not in server.worker_pids(), seconds=30, what="the end of the killed worker"
        )
        eventually(lambda: client.scard(f"{PREFIX}workers") == 1, seconds=30, what="its successor alone")
    finally:
        client.close()


def _wait_until_quiet(client: redis.Redis) -> None:
    """Wait for the end of what a start brings with it."""

    def quiet() -> bool:
        before = _written(client)
        time.sleep(2)
        return _written(client) == before

    eventually(quiet, what="a server that writes nothing")


def _calls(client: redis.Redis) -> dict[str, int]:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}


def _written(client: redis.Redis) -> int:
    """How many bytes Valkey has appended to its log, which it syncs after each second with a write."""
    return int(client.info("persistence")["aof_current_size"])
