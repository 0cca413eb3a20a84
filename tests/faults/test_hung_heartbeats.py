"""A heartbeat process that stands still: its worker doesn't wait for it, but replaces it."""

import asyncio
import json
import subprocess
import sys

import pytest

from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import LeaseStatus, WorkerStore
from tests.support.heartbeats import heartbeat
from tests.support.running import PATIENCE
from tests.support.sample_jobs import make_job

# Claims a job, stops its heartbeat process, reports more than fits into a pipe, and says what it sees.
WORKER = """
import json, os, signal, sys, time
import psutil
from framegate.core.ports import WorkerInfo
from framegate.storage.connections import connect
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.worker.heartbeat.child import HeartbeatLauncher
from framegate.worker.heartbeat.client import HeartbeatClient

url, taken, patience = sys.argv[1], sys.argv[2] == "taken", float(sys.argv[3])
client = connect(url)
store = WorkerStore(client, "w")
info = WorkerInfo("w", "here", os.getpid(), "cpu", "0", ("test",), time.time())
heartbeats = HeartbeatClient(
    HeartbeatLauncher(),
    *(url, PREFIX, store, lambda: info),
    **dict(grace=0.0, load_timeout=0.0, job_timeout=0.0, cancel_grace=600.0),
)
job = store.claim("q-test", ["test"])
heartbeats.start()
active = heartbeats.start_job(job)

def children():
    return {child.pid for child in psutil.Process().children()}

def wait_until(look):
    until = time.monotonic() + patience
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)

[first] = children()
os.kill(first, signal.SIGSTOP)
if taken:
    client.set(f"{PREFIX}swept", time.time())
    client.zadd(f"{PREFIX}leases", {job.id: 1})
    other = WorkerStore(client, "other")
    other.sweep()
    assert other.claim("q-test", ["test"]).attempt == 2
for step in range(5_000):
    active.report(step / 10_000, "x" * 100)
wait_until(lambda: children() and first not in children())
if taken:
    wait_until(lambda: active.status != "ok")
else:
    active.report(0.75, "going on")
    wait_until(lambda: float(client.hget(f"{PREFIX}job:{job.id}", "progress")) == 0.75)
[second] = children()
os.kill(second, signal.SIGSTOP)
started = time.monotonic()
heartbeats.stop()
wait_until(lambda: not children())
print(json.dumps({"status": active.status, "stopped_in": time.monotonic() - started}))
"""


@pytest.mark.parametrize("taken", [False, True])
def test_a_stopped_heartbeat_process_is_replaced(queue_url: str, taken: bool) -> None:
    """The next one keeps the lease, or learns that another worker has the job; none outlives its worker."""
    client = connect(queue_url)
    client.ping()  # tries again until Valkey has started
    asyncio.run(_submit(queue_url))
    command = [sys.executable, "-c", WORKER, queue_url, "taken" if taken else "", str(PATIENCE)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=2 * PATIENCE, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == (LeaseStatus.LOST if taken else LeaseStatus.OK)
    assert told["stopped_in"] < 10
    if not taken:
        assert heartbeat(WorkerStore(client, "w"), "job", 1) == LeaseStatus.OK
    client.close()


async def _submit(url: str) -> None:
    store = ValkeyJobStore(connect_async(url))
    await store.submit(make_job("job"), limits=Limits())
    await store.close()
