"""A primary, a replica, and a Sentinel that promotes the latter when the former is gone."""

import subprocess
from pathlib import Path
from typing import cast

import redis
from redis.sentinel import Sentinel

from tests.support.external_valkey import ExternalValkey
from tests.support.ports import free_port
from tests.support.running import eventually
from tests.support.server_programs import ServerProgram

SERVICE, PASSWORD, SENTINEL_PASSWORD = "films", "data-password", "watch-password"


class WatchedPair:
    """Listens on loopback; servers and Sentinel ask for passwords of their own."""

    def __init__(self, folder: Path, program: ServerProgram) -> None:
        folder.mkdir()
        options = {"masterauth": PASSWORD, "repl-diskless-sync-delay": "0"}
        self.primary = ExternalValkey(folder / "first", program=program, options=options, password=PASSWORD)
        self.replica = ExternalValkey(
            folder / "second",
            program=program,
            options={**options, "replicaof": f"127.0.0.1 {self.primary.port}"},
            password=PASSWORD,
        )
        self.port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 5000\n"
        )
        self._sentinel = subprocess.Popen(
            [program.path, config, "--sentinel"], stdout=subprocess.DEVNULL, env=dict(program.environ) or None
        )
        self._manager = Sentinel(  # type: ignore[no-untyped-call]  # untyped in redis-py
            [("127.0.0.1", self.port)], sentinel_kwargs={"password": SENTINEL_PASSWORD}, password=PASSWORD
        )
        eventually(self._knows_the_replica, what="what the Sentinel knows")

    @property
    def url(self) -> str:
        """The queue's address. Its first Sentinel is not there."""
        sentinels = f"127.0.0.1:{free_port()},127.0.0.1:{self.port}"
        return f"sentinel://:{PASSWORD}@{sentinels}/{SERVICE}/0?sentinel_password={SENTINEL_PASSWORD}"

    def fail_over(self) -> None:
        """Kill the primary once the replica has all that was acknowledged, and wait for the promotion."""
        self._wait_for_replica()
        self.primary.kill()
        self._wait_for_promotion()

    def let_hang(self) -> None:
        """Do the same, but let the primary stand still, with its connections open."""
        self._wait_for_replica()
        self.primary.suspend()
        self._wait_for_promotion()

    def close(self) -> None:
        """End all three."""
        self._sentinel.kill()
        self._sentinel.wait()
        self.primary.kill()
        self.replica.kill()

    def _wait_for_replica(self) -> None:
        with redis.Redis.from_url(self.primary.url) as client:
            client.set("written", "last")  # the wait is for what its own connection has written
            assert client.wait(1, 10_000) == 1

    def _wait_for_promotion(self) -> None:
        eventually(lambda: self._port() == self.replica.port, what="the promotion")

    def _port(self) -> int:
        try:
            found = self._manager.discover_master(SERVICE)  # type: ignore[no-untyped-call]  # likewise
            return cast("tuple[str, int]", found)[1]
        except redis.RedisError:
            return 0

    def _knows_the_replica(self) -> bool:
        try:
            found = self._manager.discover_slaves(SERVICE)  # type: ignore[no-untyped-call]  # likewise
        except redis.RedisError:
            return False
        return [port for _, port in cast("list[tuple[str, int]]", found)] == [self.replica.port]
