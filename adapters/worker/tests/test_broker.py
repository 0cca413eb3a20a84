"""The tickets of the queue, as Dramatiq reads them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import dramatiq
import pytest
import redis
from dramatiq import Message, MessageProxy
from dramatiq.errors import ConnectionClosed, QueueNotFound

from framegate.core.ports import Limits
from framegate.storage.connections import connect_async, connect_for_tickets
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.records import PREFIX, TICKETS
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.worker import ticket_consumer
from framegate.worker.broker import ACTOR_NAME, TicketBroker, make_worker
from framegate.worker.queue_rotation import LONGEST_PAUSE_SECONDS, QueueRotation
from tests.support.running import eventually
from tests.support.sample_jobs import make_job
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]

QUEUES = {"q-one", "q-two", "q-test"}


@pytest.fixture
def tickets(valkey: EmbeddedValkey, client: redis.Redis) -> Iterator[redis.Redis]:
    connection = connect_for_tickets(valkey.url)
    yield connection
    connection.close()


@pytest.fixture
def rotation() -> QueueRotation:
    return QueueRotation(lambda: QUEUES)


@pytest.fixture
def broker(tickets: redis.Redis, rotation: QueueRotation) -> TicketBroker:
    made = TicketBroker(tickets, rotation)
    made.declare_queue(TICKETS)
    return made


def push(broker: TicketBroker, queue: str) -> Message[object]:
    message: Message[object] = Message(
        queue_name=TICKETS, actor_name=ACTOR_NAME, args=(queue,), kwargs={}, options={}
    )
    return broker.enqueue(message)


def take(consumer: ticket_consumer.TicketConsumer) -> MessageProxy:
    return eventually(lambda: next(consumer), what="a ticket")


def waiting(client: redis.Redis) -> int:
    """How many clients Valkey holds in a call that waits."""
    return int(cast("dict[str, int]", client.info("clients"))["blocked_clients"])


async def test_a_ticket_is_a_dramatiq_message(
    valkey: EmbeddedValkey, client: redis.Redis, broker: TicketBroker
) -> None:
    """Our script writes what Dramatiq's own encoding gives: the layout that we rely on."""
    store = ValkeyJobStore(connect_async(valkey.url))
    await store.submit(make_job("a"), limits=Limits())
    await store.close()
    own = push(broker, "q-test")
    ours, theirs = (json.loads(each) for each in client.lrange(f"{PREFIX}{TICKETS}:q-test", 0, -1))
    assert ours.keys() == theirs.keys()
    assert {name: type(value) for name, value in ours.items()} == {
        name: type(value) for name, value in theirs.items()
    }
    assert (ours["queue_name"], ours["options"]) == (theirs["queue_name"], theirs["options"])
    consumer = broker.consume(TICKETS, timeout=10)
    received = take(consumer)
    assert received.args == ("q-test",)
    assert received.actor_name == own.actor_name
    consumer.ack(received)
    consumer.close()


def test_one_thread_waits_for_a_hundred_queues(client: redis.Redis, tickets: redis.Redis) -> None:
    """Nothing is asked of Valkey meanwhile, and a ticket of any of them is there at once."""
    names = {f"q-{number}" for number in range(100)}
    broker = TicketBroker(tickets, QueueRotation(lambda: names))
    taken: list[str] = []
    arrived = threading.Event()

    def run_next_job(queue: str) -> None:
        taken.append(queue)
        arrived.set()

    dramatiq.Actor(
        run_next_job, broker=broker, actor_name=ACTOR_NAME, queue_name=TICKETS, priority=0, options={}
    )
    threads = threading.active_count()
    worker = make_worker(broker)
    worker.start()
    try:
        assert threading.active_count() - threads == 2
        eventually(lambda: waiting(client) == 1, what="the consumer's wait")
        calls = _calls(client, "blpop")
        push(broker, "q-42")
        assert arrived.wait(10)
        assert taken == ["q-42"]
        eventually(lambda: waiting(client) == 1, what="the consumer's next wait")
        assert _calls(client, "blpop") - calls <= 1
    finally:
        started = time.monotonic()
        worker.stop()
        assert time.monotonic() - started < 5, "it does not wait for Valkey's answer, which takes longer"


def _calls(client: redis.Redis, command: str) -> int:
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_a_busy_worker_leaves_the_next_ticket(client: redis.Redis, broker: TicketBroker) -> None:
    push(broker, "q-one")
    push(broker, "q-one")
    consumer = broker.consume(TICKETS, timeout=10)
    first = take(consumer)
    assert [next(consumer) for _ in range(3)] == [None] * 3
    assert client.llen(f"{PREFIX}{TICKETS}:q-one") == 1
    consumer.nack(first)
    take(consumer)
    consumer.close()


def test_queues_take_turns(broker: TicketBroker, rotation: QueueRotation) -> None:
    for _ in range(3):
        push(broker, "q-one")
        push(broker, "q-two")
    consumer = broker.consume(TICKETS, timeout=10)
    served: list[str] = []
    for _ in range(6):
        ticket = take(consumer)
        served.append(ticket.args[0])
        rotation.found_job(ticket.args[0])
        consumer.ack(ticket)
    assert served == ["q-one", "q-two"] * 3
    consumer.close()


def test_a_queue_without_a_job_for_this_worker_is_left_to_others(
    client: redis.Redis, broker: TicketBroker, rotation: QueueRotation
) -> None:
    """It looks there ever less often, while the other queues are served at once."""
    consumer = broker.consume(TICKETS, timeout=10)
    for _ in range(10):
        rotation.found_nothing("q-one")
    push(broker, "q-one")
    push(broker, "q-two")
    started = time.monotonic()
    ticket = take(consumer)
    assert ticket.args == ("q-two",)
    rotation.found_job("q-two")
    consumer.ack(ticket)
    assert take(consumer).args == ("q-one",), "it comes back to the queue"
    assert time.monotonic() - started >= LONGEST_PAUSE_SECONDS
    consumer.close()


def test_a_new_models_queue_is_waited_for_as_well(
    client: redis.Redis, tickets: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticket_consumer, "RECHECK_SECONDS", 0.05)
    names = {"q-one"}
    broker = TicketBroker(tickets, QueueRotation(lambda: names))
    broker.declare_queue(TICKETS)
    consumer = broker.consume(TICKETS, timeout=10)
    assert next(consumer) is None
    push(broker, "q-new")
    names.add("q-new")
    assert take(consumer).args == ("q-new",)
    consumer.close()


def test_tickets_that_were_not_used_go_back(client: redis.Redis, broker: TicketBroker) -> None:
    """The one that was taken, and the one that arrived while the worker stopped."""
    push(broker, "q-one")
    taking = broker.consume(TICKETS, timeout=10)
    ticket = take(taking)
    taking.requeue([ticket])
    assert client.llen(f"{PREFIX}{TICKETS}:q-one") == 1
    broker.flush_all()
    stopping = broker.consume(TICKETS, timeout=10)
    assert next(stopping) is None
    push(broker, "q-two")
    assert client.llen(f"{PREFIX}{TICKETS}:q-two") == 0, "Valkey has handed it out"
    stopping.close()
    assert client.llen(f"{PREFIX}{TICKETS}:q-two") == 1


@pytest.mark.parametrize("silent", [False, True])
def test_a_lost_connection_is_noticed(
    client: redis.Redis, broker: TicketBroker, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Also one on which nothing arrives any more, not even the end of the wait."""
    consumer = broker.consume(TICKETS, timeout=10)
    if silent:
        monkeypatch.setattr(ticket_consumer, "SILENT_SECONDS", -ticket_consumer.BLOCK_SECONDS)
        with pytest.raises(ConnectionClosed):
            _step_until_error(lambda: next(consumer))
    else:
        assert next(consumer) is None
        for each in client.client_list():
            if each["cmd"] == "blpop":
                client.client_kill_filter(_id=each["id"])
        with pytest.raises(ConnectionClosed):
            _step_until_error(lambda: next(consumer))
    consumer.close()
    monkeypatch.undo()
    push(broker, "q-one")
    again = broker.consume(TICKETS, timeout=10)
    take(again)
    again.close()


def _step_until_error(step: Callable[[], object]) -> None:
    for _ in range(100):
        step()


def test_an_unknown_queue_is_an_error(broker: TicketBroker) -> None:
    with pytest.raises(QueueNotFound):
        broker.consume("other")


def test_upkeep_comes_before_the_next_ticket(tickets: redis.Redis, rotation: QueueRotation) -> None:
    """While a model loads, tickets are for other workers, also one that is on its way."""
    due = [False]
    broker = TicketBroker(tickets, rotation, upkeep_due=lambda: due[0])
    broker.declare_queue(TICKETS)
    consumer = broker.consume(TICKETS, timeout=10)
    assert next(consumer) is None
    push(broker, "q-one")
    eventually(lambda: tickets.llen(f"{PREFIX}{TICKETS}:q-one") == 0, what="the ticket's arrival")
    due[0] = True
    upkeep = take(consumer)
    assert upkeep.args == ("",)
    assert tickets.llen(f"{PREFIX}{TICKETS}:q-one") == 1
    assert next(consumer) is None, "one thing at a time"
    due[0] = False
    consumer.requeue([upkeep])
    consumer.ack(upkeep)
    ticket = take(consumer)
    assert ticket.args == ("q-one",)
    consumer.ack(ticket)
    consumer.close()
