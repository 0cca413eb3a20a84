"""Dramatiq, reduced to what it does here: deliver tickets.

A ticket says that some job waits in a queue; which job a worker gets for it is the store's decision at claim
time. Tickets are pushed by the store's scripts, in the same step that queues the job, so nothing in Framegate
enqueues through Dramatiq. A lost or duplicate ticket does no harm: the sweep replaces the former, and the
latter finds no job.

Dramatiq's own broker for Redis asks for the messages of each queue ten times a second, from a thread for
each. `TicketBroker` has one queue for Dramatiq, whose one consumer waits for the tickets of all of the
worker's queues.
"""

import os
from collections.abc import Callable

# Milliseconds until a consumer that lost Valkey tries again; read by dramatiq.worker when it is imported.
os.environ.setdefault("dramatiq_restart_delay", "500")

import dramatiq
import redis
from dramatiq import Message
from dramatiq.errors import QueueNotFound

from framegate.storage.jobs.records import PREFIX, TICKETS
from framegate.worker.queue_rotation import QueueRotation
from framegate.worker.ticket_consumer import TicketConsumer

ACTOR_NAME = "run_next_job"
POLL_MS = 200
"""How soon Dramatiq's threads notice that they are to stop."""
_UPKEEP: Message[object] = Message(
    queue_name=TICKETS, actor_name=ACTOR_NAME, args=("",), kwargs={}, options={}
)


class TicketBroker(dramatiq.Broker):
    """Deliver the tickets of the queues in ``rotation`` as the messages of one queue, `TICKETS`.

    It has no middleware: retries, time limits and ages are the store's business. Whenever ``upkeep_due`` says
    that something is to be done to the models, the actor is called for no queue, "", before the next ticket.
    """

    def __init__(
        self,
        client: redis.Redis,
        rotation: QueueRotation,
        *,
        prefix: str = PREFIX,
        upkeep_due: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(middleware=[])
        self._client = client
        self._rotation = rotation
        self._upkeep_due = upkeep_due
        self._prefix = f"{prefix}{TICKETS}:"
        self.queues: dict[str, None] = {}

    def declare_queue(self, queue_name: str) -> None:
        """Declare Dramatiq's queue; there are no delayed messages, so it has no second one for those."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = POLL_MS) -> TicketConsumer:
        """Return a consumer that waits ``timeout`` milliseconds for each message, and takes one at a time."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # in Dramatiq
        return TicketConsumer(
            self._client,
            self._rotation,
            prefix=self._prefix,
            timeout=timeout / 1000,
            upkeep=lambda: _UPKEEP if self._upkeep_due() else None,
        )

    def enqueue(self, message: Message[object], *, delay: int | None = None) -> Message[object]:
        """Push a ticket as the store's scripts do; its only argument is the name of a queue."""
        if delay is not None:
            raise NotImplementedError("Tickets are never delayed.")
        self._client.rpush(f"{self._prefix}{message.args[0]}", message.encode())
        return message

    def flush(self, queue_name: str) -> None:
        """Drop the tickets of all queues in the rotation."""
        if keys := [f"{self._prefix}{queue}" for queue in self._rotation.queues]:
            self._client.delete(*keys)

    def flush_all(self) -> None:
        """Drop the tickets of all queues in the rotation."""
        self.flush(TICKETS)


def make_worker(broker: TicketBroker) -> dramatiq.Worker:
    """Return a worker with one thread, for one job at a time."""
    return dramatiq.Worker(broker, queues={TICKETS}, worker_threads=1, worker_timeout=POLL_MS)
