"""What requests cost: submits and polls of many clients, and lists of a client while many jobs are stored."""

import time
from collections.abc import Mapping, Sequence

from tests.benchmarks.serving.http_client import Connection, drive, request_bytes
from tests.benchmarks.serving.model import NAME
from tests.benchmarks.serving.results import Recorder
from tests.benchmarks.serving.servers import OwnServer, Target, decoded, post
from tests.support.processes import VALKEY

CLIENTS = 16
MOST_SECONDS = 2.0
"""How long a list is measured in a round, if it is slow."""


def measure_rates(targets: Sequence[Target], recorder: Recorder, *, rounds: int, count: int) -> None:
    """Submit ``count`` jobs to each target in each round, then poll each of them twice.

    Each round begins with another target, as the machine's pace changes.
    """
    for number in range(rounds + 1):
        first = number % len(targets)
        for target in (*targets[first:], *targets[:first]):
            measured = recorder if number else Recorder()  # the first round warms up
            submissions = [target.shape.submission() for _ in range(count)]
            answers = _drive("submit", target, submissions, measured)
            ids = [target.shape.job_id(decoded(answer)) for answer in answers]
            _wait_until_idle(target, ids[-1])
            _drive("poll", target, [target.shape.poll(job_id) for job_id in ids + ids], measured)


def _drive(what: str, target: Target, requests: Sequence[bytes], recorder: Recorder) -> Sequence[bytes]:
    cpu = target.cpu_seconds()
    load = drive(target.address, requests, clients=CLIENTS)
    spent = target.cpu_seconds() - cpu
    section, count = "rates", len(requests)
    recorder.add(section, f"{what}s", target.name, count / load.seconds, "1/s")
    if target.api_pids:
        recorder.add(section, f"API's CPU per {what}", target.name, 1000 * spent / count, "ms")
    recorder.add(section, f"load generator's CPU per {what}", target.name, 1000 * load.own_cpu / count, "ms")
    return load.answers


def _wait_until_idle(target: Target, last: str) -> None:
    """Wait until a server that runs the jobs itself has done so, or work would go on while it is polled."""
    if target.shape.runs_jobs_itself:
        with Connection(target.address) as connection:
            while not target.shape.has_ended(decoded(connection.call(target.shape.poll(last)))):
                time.sleep(0.05)


def measure_lists(servers: Mapping[int, OwnServer], recorder: Recorder, *, rounds: int, calls: int) -> None:
    """Measure each list, count and position, one call after the other, on servers with so many jobs."""
    requests = {stored: _lists(server) for stored, server in servers.items()}
    for _ in range(rounds):
        for stored, server in servers.items():
            with Connection(server.target.address) as connection:
                for name, request in requests[stored].items():
                    times: list[float] = []
                    connection.call(request)
                    cpu = _cpu_seconds(server)
                    end = time.perf_counter() + MOST_SECONDS
                    while len(times) < calls and time.perf_counter() < end:
                        began = time.perf_counter()
                        connection.call(request)
                        times.append(1000 * (time.perf_counter() - began))
                    spent = 1000 * (_cpu_seconds(server) - cpu) / len(times)
                    recorder.add("lists", f"{name}, CPU of API and Valkey", server.target.name, spent, "ms")
                    recorder.add_times("lists", name, server.target.name, times)


def _cpu_seconds(server: OwnServer) -> float:
    return server.target.cpu_seconds() + server.cpu_seconds(VALKEY)


def _lists(server: OwnServer) -> Mapping[str, bytes]:
    """Return the requests, for a job of each dialect that waits behind all others."""

    def get(path: str) -> bytes:
        return request_bytes("GET", path)

    with Connection(server.target.address) as connection:

        def submit(path: str, **body: object) -> str:
            answer = decoded(connection.call(post(path, {"prompt": "a boat on a lake", **body})))
            return str(answer.get("task_id") or answer.get("requestId") or answer["id"])

        task = submit("/v1/tasks/video")
        video = submit("/v1/videos")
        generation = submit("/v1/videos/generate", model="sora2-landscape-10s", async_mode=True)
        requested = submit("/video/submit", model=NAME)
        job = submit("/api/v1/jobs", task="text-to-video")
        newest = decoded(connection.call(get("/api/v1/jobs?limit=1")))
    after = newest["next"]
    return {
        "lightx2v: queue status": get("/v1/tasks/queue/status"),
        "lightx2v: service status": get("/v1/service/status"),
        "lightx2v: all tasks": get("/v1/tasks/"),
        "lightx2v: a waiting task": get(f"/v1/tasks/{task}/status"),
        "openai-videos: newest videos": get("/v1/videos?limit=20"),
        "openai-videos: videos after one": get(f"/v1/videos?limit=20&after={video}"),
        "openai-videos: oldest videos": get("/v1/videos?limit=20&order=asc"),
        "openai-videos: a waiting video": get(f"/v1/videos/{video}"),
        "sora2api: a waiting task": get(f"/v1/tasks/{generation}"),
        "wan21-submit: position in the queue": post("/video/status", {"requestId": requested}),
        "framegate: newest jobs": get("/api/v1/jobs?limit=20"),
        "framegate: jobs after one": get(f"/api/v1/jobs?limit=20&after={after}"),
        "framegate: waiting jobs": get("/api/v1/jobs?limit=20&state=queued"),
        "framegate: jobs that succeeded": get("/api/v1/jobs?limit=20&state=succeeded"),
        "framegate: jobs that failed": get("/api/v1/jobs?limit=20&state=failed"),
        "framegate: the oldest jobs": get("/api/v1/jobs?limit=100&after=64"),
        "framegate: jobs of an unknown model": get("/api/v1/jobs?limit=20&model=unknown"),
        "framegate: jobs of a model": get("/api/v1/jobs?limit=20&model=ready"),
        "framegate: everybody's jobs": get("/api/v1/jobs?limit=100&owner=*"),
        "framegate: usage": get("/api/v1/admin/usage"),
        "framegate: a waiting job with its position": get(f"/api/v1/jobs/{job}"),
        "status of the server": get("/status"),
    }
