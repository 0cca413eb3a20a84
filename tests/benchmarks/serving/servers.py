"""The servers that are measured: real ones of this checkout, and others to compare with."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import psutil
from msgspec import Struct

from framegate.core.jobs import Job
from framegate.storage.connections import connect_async
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.store import ValkeyJobStore
from tests.benchmarks.serving.http_client import Address, request_bytes
from tests.benchmarks.serving.model import NAME, ready_environ
from tests.benchmarks.serving.results import OURS
from tests.benchmarks.serving.shapes import SHAPES, Shape
from tests.support.processes import API, cpu_seconds, roles_of
from tests.support.running import RunningServer, eventually, running_worker

Found = TypeVar("Found")

_PRESETS = ("lightx2v", "openai-videos", "sora2api", "wan21-submit", "wan22-predict")
CONFIG = "\n".join(
    [
        '[queue]\nmax_queued = 0\nworker_grace = "forever"',
        f'[dialects.framegate]\nmodel = "{NAME}"',
        "[presets]",
        *(f'{name} = {{ video = "{NAME}", image = "{NAME}" }}' for name in _PRESETS),
    ]
)


class Target(Struct, frozen=True):
    """A server that is measured, with the processes that serve its API; none if it runs elsewhere."""

    name: str
    address: Address
    shape: Shape
    api_pids: Sequence[int] = ()

    def cpu_seconds(self) -> float:
        """Return the CPU time that its API has taken so far."""
        return sum(map(cpu_seconds, self.api_pids))


class OwnServer(Struct, frozen=True):
    """A server of a checkout of Framegate, and a worker that was added to it."""

    running: RunningServer
    target: Target
    second_worker: subprocess.Popen[bytes] | None = None

    def processes(self) -> Mapping[str, Sequence[psutil.Process]]:
        """Return its processes by their role, those of the added worker too."""
        found = {role: list(those) for role, those in roles_of(self.running.process.pid).items()}
        if self.second_worker:
            # The process that keeps it running is called a worker too, and takes next to no time.
            for role, those in roles_of(self.second_worker.pid).items():
                found.setdefault(role, []).extend(those)
        return found

    def cpu_seconds(self, role: str) -> float:
        """Return the CPU time of the processes of a role so far."""
        return sum(cpu_seconds(process.pid) for process in self.processes().get(role, ()))

    def with_store(self, call: Callable[[ValkeyJobStore], Awaitable[Found]]) -> Found:
        """Return what ``call`` returns for the store of its jobs."""

        async def connected() -> Found:
            store = ValkeyJobStore(connect_async(socket_url(self.running.data_dir)))
            try:
                return await call(store)
            finally:
                await store.close()

        return asyncio.run(connected())

    def jobs(self, ids: Sequence[str]) -> list[Job]:
        """Return the records of jobs."""

        async def find(store: ValkeyJobStore) -> list[Job]:
            found = [await store.get(job_id) for job_id in ids]
            assert None not in found
            return [job for job in found if job is not None]

        return self.with_store(find)


class Servers:
    """Starts servers, each when it is first measured, in a folder of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._environ = ready_environ(folder / "plugin")
        self._started: dict[str, OwnServer] = {}

    def api(self, name: str = OURS, *, processes: int = 1, python: Path | None = None) -> OwnServer:
        """Return a server without workers; ``python`` is that of another checkout."""
        arguments = ["--no-worker"]
        if processes > 1:
            arguments += ["--api-processes", str(processes)]
        return self._server(f"{name} alone", name, arguments, python, num_api=processes)

    def has_api(self, name: str) -> bool:
        """Return whether that server runs already."""
        return f"{name} alone" in self._started

    def with_worker(self) -> OwnServer:
        """Return a server with a worker."""
        return self._server("one worker", OURS, [], None)

    def with_two_workers(self) -> tuple[OwnServer, str]:
        """Return the same server with one worker more, and that one's id."""
        one = self.with_worker()
        first = {worker["id"] for worker in one.running.json("workers")}
        data, environ, config = one.running.data_dir, one.running.environ, one.running.config
        worker = self._stack.enter_context(running_worker(data, "--config", config, environ=environ))

        def second() -> str:
            return next((one["id"] for one in two.running.json("workers") if one["id"] not in first), "")

        two = OwnServer(one.running, one.target, worker)
        return two, eventually(second, what="the second worker")

    def _server(
        self, key: str, name: str, arguments: Sequence[str], python: Path | None, num_api: int = 1
    ) -> OwnServer:
        if key in self._started:
            return self._started[key]
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        running = RunningServer(
            folder / "data",
            config=CONFIG,
            arguments=arguments,
            environ=self._environ,
            command=[str(python or sys.executable), "-m", "framegate.cli"],
        )
        self._stack.callback(running.stop)
        running.wait_until_ready("/health" if "--no-worker" in arguments else "/status")

        def api_pids() -> list[int]:
            # Several processes answer requests beside the one that starts them.
            found = [process.pid for process in roles_of(running.process.pid)[API]]
            return found if len(found) >= num_api + (num_api > 1) else []

        pids = eventually(api_pids, what="all processes of the API")
        target = Target(name, ("127.0.0.1", running.port), SHAPES["lightx2v"], pids)
        self._started[key] = OwnServer(running, target)
        return self._started[key]


def beside(url: str, shape: str) -> Target:
    """Return another server, which runs already; its CPU time is known if it runs on this machine."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    return Target(shape, (host, port), SHAPES[shape], _listeners(port) if host == "127.0.0.1" else ())


def _listeners(port: int) -> list[int]:
    listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return sorted({one.pid for one in listening if getattr(one.laddr, "port", 0) == port and one.pid})


def post(path: str, body: Mapping[str, Any]) -> bytes:
    """Return a request that posts JSON."""
    return request_bytes("POST", path, body)


def decoded(answer: bytes) -> Any:
    """Return the JSON of an answer."""
    return msgspec.json.decode(answer)
