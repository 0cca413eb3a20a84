"""What many open streams cost, and how fast results are downloaded."""

import selectors
import time
from contextlib import ExitStack

from tests.benchmarks.serving.http_client import Connection, request_bytes
from tests.benchmarks.serving.results import Recorder
from tests.benchmarks.serving.servers import OwnServer, decoded, post
from tests.support.processes import API

_PATIENCE = 60.0
_RANGE = 1 << 20
_MIB = 1 << 20
_FINAL = b'"state":"succeeded"'
_DATA = b"\ndata: "


class Watcher:
    """A client that follows a job by its server-sent events."""

    def __init__(self, connection: Connection, job_id: str) -> None:
        self.connection = connection
        self.events = 0
        self.ended_at = 0.0
        """When its final event had arrived, in seconds since the epoch."""
        self._last = b""
        connection.send(request_bytes("GET", f"/api/v1/jobs/{job_id}/events"))

    def read(self) -> None:
        """Read what has arrived."""
        data = self.connection.socket.recv(1 << 16)
        now = time.time()
        assert data, "the stream has ended before its job"
        # A mark may be cut in two.
        text = self._last + data
        self.events += text.count(_DATA)
        if _FINAL in text:
            self.ended_at = now
        self._last = text[-max(len(_FINAL), len(_DATA)) + 1 :]


def measure_watchers(
    server: OwnServer, recorder: Recorder, *, rounds: int, watchers: int, seconds: float
) -> None:
    """Let so many clients follow one job, whose progress is reported five times in each second."""
    for _ in range(rounds):
        with ExitStack() as stack, Connection(server.target.address) as client:
            selector = stack.enter_context(selectors.DefaultSelector())
            job_id = _submit(client, f"sleep {seconds}")
            opened: list[Watcher] = []
            for _ in range(watchers):
                connection = stack.enter_context(Connection(server.target.address))
                watcher = Watcher(connection, job_id)
                selector.register(connection.socket, selectors.EVENT_READ, watcher)
                opened.append(watcher)
            for watcher in opened:  # all are open before anything is measured
                watcher.read()
            cpu, began = server.target.cpu_seconds(), time.perf_counter()
            memory = 0
            while not all(watcher.ended_at for watcher in opened):
                ready = selector.select(_PATIENCE)
                assert ready, f"no event within {_PATIENCE:g} s"
                for key, _ in ready:
                    watcher = key.data
                    watcher.read()
                    if watcher.ended_at:
                        selector.unregister(watcher.connection.socket)
                memory = memory or _api_memory(server)
            share = (server.target.cpu_seconds() - cpu) / (time.perf_counter() - began)
            memory = max(memory, _api_memory(server))
        (job,) = server.jobs([job_id])
        assert job.finished_at is not None
        delays = [1000 * (watcher.ended_at - job.finished_at) for watcher in opened]
        section, name, target = "watchers", f"{watchers:,} watchers", server.target.name
        recorder.add_times(section, f"{name}: delay of the final event", target, delays)
        recorder.add(section, f"{name}: delay of the last final event", target, max(delays), "ms")
        events = sorted(watcher.events for watcher in opened)
        recorder.add(section, f"{name}: events of one", target, events[len(events) // 2], "")
        recorder.add(section, f"{name}: API's CPU", target, 100 * share, "% of a core")
        recorder.add(section, f"{name}: API's memory", target, memory / 1e6, "MB")


def _api_memory(server: OwnServer) -> int:
    return sum(process.memory_info().rss for process in server.processes()[API])


def _submit(client: Connection, prompt: str) -> str:
    body = {"prompt": prompt, "task": "text-to-video"}
    return str(decoded(client.call(post("/api/v1/jobs", body)))["id"])


def measure_downloads(server: OwnServer, recorder: Recorder, *, rounds: int, mebibytes: int) -> None:
    """Download a result of that size whole, and in ranges of 1 MiB one after the other."""
    with Connection(server.target.address) as client:
        job_id = _submit(client, f"bytes {mebibytes * _MIB}")
        while (job := decoded(client.call(request_bytes("GET", f"/api/v1/jobs/{job_id}"))))[
            "state"
        ] != "succeeded":
            assert job["state"] in ("queued", "running"), job
            time.sleep(0.05)
        path = f"/api/v1/jobs/{job_id}/results/0"
        whole = [request_bytes("GET", path)]
        ranges = [
            request_bytes("GET", path, headers={"Range": f"bytes={start}-{start + _RANGE - 1}"})
            for start in range(0, mebibytes * _MIB, _RANGE)
        ]
        buffer = memoryview(bytearray(1 << 20))
        for number in range(rounds + 1):
            for name, requests in (("whole", whole), ("by ranges of 1 MiB", ranges)):
                cpu, began = server.target.cpu_seconds(), time.perf_counter()
                size = sum(client.download(request, buffer) for request in requests)
                seconds, spent = time.perf_counter() - began, server.target.cpu_seconds() - cpu
                assert size == mebibytes * _MIB, size
                if number:
                    target = server.target.name
                    recorder.add("downloads", name, target, size / seconds / 1e6, "MB/s")
                    recorder.add("downloads", f"{name}: API's CPU per GB", target, 1e9 * spent / size, "s")
