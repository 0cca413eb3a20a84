"""Job records in Valkey: tickets, lists and limits under load."""

import asyncio
import json
from typing import cast

import redis
from dramatiq import Message

from framegate.core.errors import QueueFull
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect_for_tickets
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import DRAMATIQ_NAMESPACE
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.worker.broker import ACTOR_NAME, make_broker
from tests.support.sample_jobs import make_job


async def test_ticket_is_a_dramatiq_message(
    store: ValkeyJobStore, valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    """Our script writes what Dramatiq's own enqueue writes: the layout that we rely on."""
    await store.submit(make_job("a"), limits=Limits())
    tickets = connect_for_tickets(valkey.url)
    broker = make_broker(tickets)
    broker.declare_queue("q-test")
    message: Message[None] = Message(
        queue_name="q-test", actor_name=ACTOR_NAME, args=("q-test",), kwargs={}, options={}
    )
    own = cast("Message[None]", broker.enqueue(message))
    stored = client.hgetall(f"{DRAMATIQ_NAMESPACE}:q-test.msgs")
    ours, theirs = (json.loads(stored[key]) for key in client.lrange(f"{DRAMATIQ_NAMESPACE}:q-test", 0, -1))
    assert ours.keys() == theirs.keys()
    assert {name: type(value) for name, value in ours.items()} == {n: type(v) for n, v in theirs.items()}
    received = list(filter(None, (next(broker.consume("q-test", prefetch=2, timeout=10)) for _ in "12")))
    assert received[0].args == ("q-test",)
    assert received[0].actor_name == own.actor_name
    consumer = broker.consume("q-test")
    consumer.ack(received[0])
    tickets.close()


async def test_listing_is_newest_first_and_by_owner_and_state(store: ValkeyJobStore) -> None:
    for index in range(450):
        await store.submit(make_job(f"j{index}", owner="alice" if index % 3 else "bob"), limits=Limits())
    await store.cancel("j3")
    everybodys = await store.list(owner=None, states=(), limit=420)
    bobs = await store.list(owner="bob", states=(), limit=3)
    cancelled = await store.list(owner="bob", states=[JobState.CANCELLED], limit=10)
    assert [job.id for job in everybodys] == [f"j{index}" for index in range(449, 29, -1)]
    assert [job.id for job in bobs] == ["j447", "j444", "j441"]
    assert [job.id for job in cancelled] == ["j3"]


async def test_queue_cap_holds_under_64_submits_at_once(store: ValkeyJobStore) -> None:
    outcomes = await asyncio.gather(
        *(store.submit(make_job(f"j{i}"), limits=Limits(max_queued=5)) for i in range(64)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 59


async def test_a_repeated_submit_of_the_same_job_is_one_job(store: ValkeyJobStore) -> None:
    """The client library repeats a call whose reply was lost."""
    job = make_job("once")
    await store.submit(job, limits=Limits())
    await store.submit(job, limits=Limits())
    assert (await store.counts()).queued == 1
