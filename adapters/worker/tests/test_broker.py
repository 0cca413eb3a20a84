"""The tickets of the queue, as Dramatiq reads them."""

import json
from pathlib import Path
from typing import cast

from dramatiq import Message

from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async, connect_for_tickets
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import DRAMATIQ_NAMESPACE, PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.worker.broker import ACTOR_NAME, make_broker
from tests.support.sample_jobs import make_job


async def test_a_ticket_is_a_dramatiq_message(tmp_path: Path) -> None:
    """Our script writes what Dramatiq's own enqueue writes: the layout that we rely on."""
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    client, tickets, store = (
        connect(valkey.url),
        connect_for_tickets(valkey.url),
        ValkeyJobStore(connect_async(valkey.url)),
    )
    try:
        await store.submit(make_job("a"), limits=Limits())
        broker = make_broker(tickets)
        broker.declare_queue("q-test")
        message: Message[None] = Message(
            queue_name="q-test", actor_name=ACTOR_NAME, args=("q-test",), kwargs={}, options={}
        )
        own = cast("Message[None]", broker.enqueue(message))
        stored = client.hgetall(f"{PREFIX}{DRAMATIQ_NAMESPACE}:q-test.msgs")
        ours, theirs = (
            json.loads(stored[key]) for key in client.lrange(f"{PREFIX}{DRAMATIQ_NAMESPACE}:q-test", 0, -1)
        )
        assert ours.keys() == theirs.keys()
        assert {name: type(value) for name, value in ours.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        received = list(filter(None, (next(broker.consume("q-test", prefetch=2, timeout=10)) for _ in "12")))
        assert received[0].args == ("q-test",)
        assert received[0].actor_name == own.actor_name
        broker.consume("q-test").ack(received[0])
    finally:
        await store.close()
        for connection in (tickets, client):
            connection.close()
        valkey.stop()
