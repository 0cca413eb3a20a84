"""Dramatiq, reduced to what it does here: deliver tickets.

A ticket says that some job waits in a queue; which job a worker gets for it is the store's decision at claim
time. Tickets are pushed by the store's scripts, in the same step that queues the job, so nothing in Framegate
enqueues through Dramatiq. A lost or duplicate ticket does no harm: the sweep replaces the former, and the
latter finds no job.
"""

import os

# Read by dramatiq.worker when it is imported. Two tickets per thread would let a busy worker sit on one.
os.environ.setdefault("dramatiq_queue_prefetch", "1")
# Milliseconds until a consumer that lost Valkey tries again.
os.environ.setdefault("dramatiq_restart_delay", "500")

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from framegate.storage.jobs.records import DRAMATIQ_NAMESPACE, PREFIX

ACTOR_NAME = "run_next_job"
POLL_MS = 100


def make_broker(client: redis.Redis, *, prefix: str = PREFIX) -> RedisBroker:
    """Return a broker without middleware: retries, time limits and ages are the store's business."""
    return RedisBroker(  # type: ignore[no-untyped-call]  # Dramatiq leaves its constructor untyped
        client=client, middleware=[], namespace=prefix + DRAMATIQ_NAMESPACE, heartbeat_timeout=15_000
    )


def make_worker(broker: RedisBroker, queues: set[str]) -> dramatiq.Worker:
    """Return a worker with one thread, for one job at a time; an idle one polls every `POLL_MS` ms."""
    return dramatiq.Worker(broker, queues=queues, worker_threads=1, worker_timeout=POLL_MS)
