"""What a server answers that can't do it now passes; a mistake in the call is shown as one."""

import asyncio
import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import redis

from framegate.core.errors import ConfigError, Unavailable
from framegate.storage.connections import (
    connect,
    connect_async,
    connect_once,
    outages_as_unavailable,
)
from framegate.storage.server_check import check_server

PASSING = (
    "BUSY Valkey is busy running a script.",
    "LOADING Valkey is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write. script: 5b1f, on @user_script:9.",
    "OOM command not allowed when used memory > 'maxmemory'. script: 5b1f, on @user_script:9.",
    "READONLY You can't write against a read only replica. script: 5b1f, on @user_script:9.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
)
AT_START = (
    "CLUSTERDOWN The cluster is down",
    "NOAUTH Authentication required.",
    "NOPERM User default has no permissions to run the 'evalsha' command",
)
"""What passes while jobs run, as somebody will mend it, but is to be mended before a server starts."""
MISTAKES = (
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR user_script:9: attempt to index a nil value script: 5b1f, on @user_script:9.",
)


@contextmanager
def always_answering(error: str) -> Generator[str]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.readline():
                for _ in range(2 * int(head[1:])):  # the length of each part, and the part
                    self.rfile.readline()
                self.wfile.write(b"-" + error.encode() + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0?protocol=2"
        server.shutdown()


@pytest.mark.parametrize("error", PASSING)
def test_what_passes(error: str) -> None:
    with always_answering(error) as url, connect(url) as client:
        with pytest.raises(Unavailable, match="try again shortly"), outages_as_unavailable():
            client.set("a", "b")
        with connect_once(url) as looking, pytest.raises(Unavailable), outages_as_unavailable():
            check_server(looking, "fg:")


@pytest.mark.parametrize("error", AT_START)
def test_what_passes_but_not_at_the_start(error: str) -> None:
    passing = "refuses the user name and password" if error.startswith("NOAUTH") else "try again shortly"
    with always_answering(error) as url, connect(url) as client:
        with pytest.raises(Unavailable, match=passing), outages_as_unavailable():
            client.set("a", "b")
        with connect_once(url) as looking, pytest.raises(ConfigError, match=r"^queue\.url: "):
            check_server(looking, "fg:")


@pytest.mark.parametrize("error", MISTAKES)
def test_what_does_not(error: str) -> None:
    with always_answering(error) as url, connect(url) as client:
        with pytest.raises(redis.ResponseError), outages_as_unavailable():
            client.set("a", "b")
        with (
            connect_once(url) as looking,
            pytest.raises(ConfigError, match=r"queue\.url: the server rejected the connection"),
        ):
            check_server(looking, "fg:")


async def test_nobody_waits_long_for_a_server_that_hangs() -> None:
    """It takes connections and answers nothing: the API and workers give up in time for those who wait."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"redis://127.0.0.1:{hanging.getsockname()[1]}/0"

        async def call_as_api() -> None:
            async with connect_async(url) as client:
                with pytest.raises(Unavailable, match="try again shortly"), outages_as_unavailable():
                    await client.get("a")

        def call_as_worker() -> None:
            with (
                connect(url) as client,
                pytest.raises(Unavailable, match="try again shortly"),
                outages_as_unavailable(),
            ):
                client.get("a")

        async with asyncio.timeout(15):
            await asyncio.gather(call_as_api(), asyncio.to_thread(call_as_worker))
