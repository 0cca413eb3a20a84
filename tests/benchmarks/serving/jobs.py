"""What jobs cost beside their backend: the way to a worker and back, and how many fit into a second."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from framegate.core.jobs import JobState
from tests.benchmarks.serving.http_client import Connection, drive, request_bytes
from tests.benchmarks.serving.model import NAME, sleep
from tests.benchmarks.serving.requests import CLIENTS
from tests.benchmarks.serving.results import Recorder
from tests.benchmarks.serving.servers import OwnServer, Target, decoded, post
from tests.support.processes import HEARTBEAT, VALKEY, WORKER
from tests.support.running import eventually

_MODEL = f"/api/v1/admin/models/{NAME}"


def measure_latency(
    server: OwnServer, beside: Sequence[Target], recorder: Recorder, *, rounds: int, count: int
) -> None:
    """Measure ``count`` jobs of one client and of `CLIENTS` clients, each the next once it has its result."""
    for number in range(rounds + 1):
        measured = recorder if number else Recorder()
        for target in (server.target, *beside):
            ids, times = _follow(target, count)
            measured.add_times("latency", "submit to result, 1 client", target.name, times)
            if target is server.target:
                waits = [
                    1000 * (job.started_at - job.created_at) for job in server.jobs(ids) if job.started_at
                ]
                measured.add_times("latency", "submit to the worker's start, 1 client", target.name, waits)
                measured.add_times(
                    "latency", "call that waits for an image, 1 client", target.name, _wait(target, count)
                )
            together = _follow_together(target, max(1, count // CLIENTS))
            measured.add_times("latency", f"submit to result, {CLIENTS} clients", target.name, together)


def _follow(target: Target, count: int, pause: float = 0.001) -> tuple[list[str], list[float]]:
    """Return the ids of jobs that were submitted one after the other, and milliseconds until their results.

    They are polled on the connection on which they were submitted, with pauses of ``pause`` seconds.
    """
    ids: list[str] = []
    times: list[float] = []
    shape = target.shape
    with Connection(target.address) as connection:
        for _ in range(count):
            submission = shape.submission()
            began = time.perf_counter()
            job_id = shape.job_id(decoded(connection.call(submission)))
            poll = shape.poll(job_id)
            while not shape.has_ended(decoded(connection.call(poll))):
                time.sleep(pause)
            times.append(1000 * (time.perf_counter() - began))
            ids.append(job_id)
    return ids, times


def _follow_together(target: Target, count: int) -> list[float]:
    """Do the same as `CLIENTS` clients at once."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        followed = [clients.submit(_follow, target, count, pause=0.005) for _ in range(CLIENTS)]
        return [milliseconds for client in followed for milliseconds in client.result()[1]]


def _wait(target: Target, count: int) -> list[float]:
    """Return the milliseconds of calls that are answered once their job has ended."""
    times: list[float] = []
    with Connection(target.address) as connection:
        for number in range(count):
            request = post("/v1/images/generations", {"prompt": f"a boat {number}", "response_format": "url"})
            began = time.perf_counter()
            connection.call(request)
            times.append(1000 * (time.perf_counter() - began))
    return times


def measure_throughput(
    server: OwnServer, second: str, recorder: Recorder, *, rounds: int, count: int
) -> None:
    """Let the workers run ``count`` jobs that wait already, with and without the ``second`` one."""
    for number in range(rounds + 1):
        measured = recorder if number else Recorder()
        for name, change in (("1 worker", "drain"), ("2 workers", "resume")):
            with Connection(server.target.address) as connection:
                connection.call(request_bytes("POST", f"/api/v1/admin/workers/{second}/{change}"))
            _run_queue(name, server, measured, count)


def _run_queue(name: str, server: OwnServer, recorder: Recorder, count: int) -> None:
    target = server.target
    with Connection(target.address) as connection:
        connection.call(request_bytes("POST", f"{_MODEL}/pause"))
        submissions = [target.shape.submission() for _ in range(count)]
        answers = drive(target.address, submissions, clients=CLIENTS).answers
        ids = [target.shape.job_id(decoded(answer)) for answer in answers]
        roles = (WORKER, HEARTBEAT, VALKEY)
        before = {role: server.cpu_seconds(role) for role in roles}
        connection.call(request_bytes("POST", f"{_MODEL}/resume"))
    eventually(lambda: _num_active(server) == 0, what="the end of all jobs")
    spent = {role: server.cpu_seconds(role) - before[role] for role in roles}
    jobs = server.jobs(ids)
    assert all(job.state == JobState.SUCCEEDED for job in jobs)
    began = min(job.started_at or 0.0 for job in jobs)
    ended = max(job.finished_at or 0.0 for job in jobs)
    recorder.add("jobs", "queued jobs", name, count / (ended - began), "1/s")
    for role in roles:
        recorder.add("jobs", f"{role}'s CPU per job", name, 1000 * spent[role] / count, "ms")


def _num_active(server: OwnServer) -> int:
    counts = server.with_store(lambda store: store.counts())
    return counts.queued + counts.running


def measure_overhead(server: OwnServer, recorder: Recorder, *, rounds: int, seconds: float) -> None:
    """Measure what a sleeping job takes from its submission to its end over the sleep alone."""
    for _ in range(rounds):
        with Connection(server.target.address) as connection:
            answer = decoded(connection.call(server.target.shape.submission(f"sleep {seconds}")))
        job_id = server.target.shape.job_id(answer)
        bare = _bare(seconds)  # meanwhile, as both only sleep
        eventually(lambda: _num_active(server) == 0, what="the end of the job")
        (job,) = server.jobs([job_id])
        whole = (job.finished_at or 0.0) - job.created_at
        over = whole - bare
        name = f"job that sleeps for {seconds:g} s"
        recorder.add("overhead", f"{name}, over the sleep", server.target.name, 1000 * over, "ms")
        recorder.add("overhead", f"{name}, share", server.target.name, 100 * over / seconds, "%")


def _bare(seconds: float) -> float:
    began = time.perf_counter()
    sleep(seconds, lambda _step, _total: None)
    return time.perf_counter() - began
