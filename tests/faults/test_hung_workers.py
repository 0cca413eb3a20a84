"""A worker that hangs, or works for too long: its heartbeat process would keep its job, and so kills it."""

import asyncio
import signal
import subprocess
import sys

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.running import PATIENCE, eventually
from tests.support.sample_jobs import make_job

HEARTBEAT_PROCESS = """
from framegate.worker.heartbeat import process
process.STALLED_SECONDS = {stalled}
process.main()
"""
# Claims a job, starts its heartbeat process, waits until that has renewed the lease, and stands still.
WORKER = """
import os, signal, socket, subprocess, sys, time
import msgspec
from framegate.worker.heartbeat.messages import HeartbeatStart, Heartbeat, HeartbeatReply
from framegate.storage.connections import connect
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from framegate.core.ports import WorkerInfo

url, program, job_timeout = sys.argv[1:]
info = WorkerInfo("hung", "here", os.getpid(), "cpu", "0", ("test",), time.time())
job = WorkerStore(connect(url), info.id).claim("q-test", ["test"])
_, signals = socket.socketpair()
heartbeats = subprocess.Popen(
    [sys.executable, "-c", program],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[signals.fileno()]
)
limits = {"job_timeout": float(job_timeout), "cancel_grace": 0.5}
start = HeartbeatStart(url, PREFIX, info, 0.0, signals.fileno(), **limits)
def send(line):
    heartbeats.stdin.write(msgspec.json.encode(line) + b"\\n")
    heartbeats.stdin.flush()
send(start)
heartbeats.stdout.readline()
send(Heartbeat(job.id, job.attempt, since=time.monotonic()))
line = next(line for line in heartbeats.stdout if line.strip())
reply = msgspec.json.decode(line, type=HeartbeatReply)
assert reply == HeartbeatReply(job.id, 1, LeaseStatus.OK)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_hung_worker_is_killed_and_its_job_goes_on(queue_url: str) -> None:
    client = connect(queue_url)
    client.ping()  # tries again until Valkey has started
    asyncio.run(_submit(queue_url))
    _run_worker_until_killed(queue_url, stalled=1.0)
    other = WorkerStore(client, "other")

    def taken() -> int:
        other.sweep()
        job = other.claim("q-test", ["test"])
        return job.attempt if job else 0

    assert eventually(taken, what="the job's next attempt") == 2
    client.close()


def test_a_job_that_takes_too_long_fails_with_its_worker(queue_url: str) -> None:
    """It isn't tried again: that would take as long, and the next worker."""
    client = connect(queue_url)
    client.ping()
    asyncio.run(_submit(queue_url))
    _run_worker_until_killed(queue_url, stalled=600.0, job_timeout=1.0)
    job = asyncio.run(_get(queue_url))
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error.message == (
        "The job took longer than 1 s, so it was ended. The server's operator can raise worker.job_timeout."
    )
    client.close()


def _run_worker_until_killed(queue_url: str, *, stalled: float, job_timeout: float = 0.0) -> None:
    program = HEARTBEAT_PROCESS.format(stalled=stalled)
    command = [sys.executable, "-c", WORKER, queue_url, program, str(job_timeout)]
    with subprocess.Popen(command) as worker:
        assert worker.wait(PATIENCE) == -signal.SIGKILL


async def _get(url: str) -> Job:
    store = ValkeyJobStore(connect_async(url))
    job = await store.get("job")
    await store.close()
    assert job is not None
    return job


async def _submit(url: str) -> None:
    store = ValkeyJobStore(connect_async(url))
    await store.submit(make_job("job"), limits=Limits())
    await store.close()
