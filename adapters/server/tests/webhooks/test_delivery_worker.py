"""Deliveries from a job's end to their arrival, with a real Valkey and real sockets."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from framegate.core.jobs import MAX_ATTEMPTS, JobState
from framegate.core.ports import Limits
from framegate.server.webhooks import delivery_worker as delivery_worker_module
from framegate.server.webhooks.delivery_worker import BACKOFF
from framegate.server.webhooks.events import event_body
from framegate.storage.jobs import worker_store
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.webhook_deliveries import Delivery, Occupied, ValkeyDeliveryStore
from tests.support.delivery_stand import DeliveryStand, reached
from tests.support.receiving import Received, Receiver, StartReceiver
from tests.support.running import PATIENCE
from tests.support.sample_jobs import make_job


def events_of(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in logs]


async def take(store: ValkeyDeliveryStore, *hosts: str, lease: float = 60) -> Delivery | None:
    """Claim a delivery that does not go to these hosts."""
    claim = await store.claim(lease=lease, occupied=Occupied(hosts=hosts))
    assert not claim.given_up
    return claim.delivery


# Which deliveries there are.


async def test_the_end_of_a_job_is_delivered_to_each_of_its_webhooks(stand: DeliveryStand) -> None:
    started = time.time()
    await stand.end("a", urls=["https://one.example:8443/x?y=1", "http://two.example"])
    assert sorted(stand.pending().values()) == ["@one.example:8443", "@two.example:80"]
    async with stand.delivery_store() as store:
        one, two, none = [await take(store) for _ in range(3)]
    assert one is not None
    assert two is not None
    assert none is None
    assert {one.url, two.url} == {"https://one.example:8443/x?y=1", "http://two.example"}
    assert one.event == two.event
    assert one.event.startswith("evt_")
    assert (one.job_id, one.outcome, one.attempt) == ("a", JobState.SUCCEEDED, 1)
    assert int(started) <= one.created_at <= time.time()


async def test_an_event_has_the_id_by_which_the_client_knows_the_job(stand: DeliveryStand) -> None:
    async with stand.job_store() as store:
        job = make_job("~digest", task_id="my film")
        await store.submit(replace(job, webhooks=("http://a.example",)), limits=Limits())
    claimed = stand.worker.claim("q-test", ["test"])
    assert claimed is not None
    stand.worker.succeed(claimed, ())
    async with stand.delivery_store() as deliveries:
        delivery = await take(deliveries)
    assert delivery is not None
    assert delivery.job_id == "my film"


async def test_jobs_without_deliveries(stand: DeliveryStand) -> None:
    await stand.end("no-webhooks", urls=[])
    await stand.submit("waiting", "running", urls=["http://a.example"])
    running = stand.worker.claim("q-test", ["test"])
    assert running is not None
    async with stand.job_store() as store:
        for job_id in ("waiting", "running"):
            await store.cancel(job_id)
    assert stand.worker.finish_cancelled(running.id, running.attempt) == JobState.CANCELLED
    assert stand.pending() == {}


async def test_a_job_whose_last_worker_died_is_delivered(
    stand: DeliveryStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_store, "LEASE_SECONDS", -1.0)
    await stand.submit("a", urls=["http://a.example"])
    for attempt in range(1, MAX_ATTEMPTS + 1):
        worker = WorkerStore(stand.client, f"w{attempt}")
        assert worker.claim("q-test", ["test"]) is not None
        assert stand.pending() == {}
        worker.sweep()
    async with stand.delivery_store() as store:
        delivery = await take(store)
    assert delivery is not None
    assert delivery.outcome == JobState.FAILED


async def test_a_worker_that_lost_its_job_adds_no_delivery(stand: DeliveryStand) -> None:
    await stand.end("a", urls=["http://a.example"])
    job = make_job("a")
    assert stand.worker.succeed(replace(job, attempt=1), ()) == JobState.SUCCEEDED, "said twice"
    assert WorkerStore(stand.client, "w2").succeed(replace(job, attempt=1), ()) is None
    assert len(stand.pending()) == 1


async def test_a_delivery_outlives_its_job(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receiver: Receiver = start_receiver()
    await stand.end("a", urls=[receiver.url])
    async with stand.job_store() as store:
        job = await store.get("a")
        assert job is not None
        await store.expired.mark_files_removed([job])
        await store.delete_record(job)
        assert await store.get("a") is None
    await stand.deliver_all()
    assert receiver.received[0].unwrapped().data.to_dict() == {"id": "a"}


async def test_an_id_used_again_is_another_event(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receiver: Receiver = start_receiver()
    await stand.end("a", urls=[receiver.url])
    await stand.deliver_all()
    stand.client.flushall()
    await stand.end("a", urls=[receiver.url])
    await stand.deliver_all()
    assert len({received.id for received in receiver.received}) == 2


# Leases.


async def test_a_lease_that_ran_out_gives_the_delivery_to_another(stand: DeliveryStand) -> None:
    await stand.end("a", urls=["http://a.example"])
    async with stand.delivery_store() as store:
        first = await take(store, lease=0)
        assert first is not None
        second = await take(store)
        assert second is not None
        assert (second.event, second.attempt) == (first.event, 2)
        await store.postpone(first, 0.0)
        assert await take(store) is None, "the second attempt decides"
        await store.postpone(second, 0.0)
        third = await take(store)
        assert third is not None
        await store.finish(first)
        assert await take(store, lease=0) is None, "it arrived, whichever attempt it was"
        await store.postpone(third, 0.0)
        await store.finish(third)
    assert stand.pending() == {}


async def test_receivers_that_are_passed_over_hold_nobody_up(stand: DeliveryStand) -> None:
    await stand.end("a", "b", urls=["http://slow.example"])
    await stand.end("c", urls=["http://quick.example"])
    async with stand.delivery_store() as store:
        passed = ("slow.example:80", "unknown.example:80")
        first, second, third = await take(store, *passed), await take(store, *passed), await take(store)
    assert first is not None
    assert third is not None
    assert (first.job_id, second, third.job_id) == ("c", None, "a")


# Delivery.


async def test_events_arrive_signed(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receiver: Receiver = start_receiver()
    await stand.end("a", urls=[f"{receiver.url}/hooks?k=v"])
    await stand.end("b", urls=[f"{receiver.url}/hooks?k=v"], failing=True)
    await stand.deliver_all()
    events = [received.unwrapped().to_dict() for received in receiver.received]
    assert {(str(event["type"]), str(event["data"])) for event in events} == {
        ("video.completed", "{'id': 'a'}"),
        ("video.failed", "{'id': 'b'}"),
    }
    assert [event["id"] for event in events] == [received.id for received in receiver.received]
    assert {received.path for received in receiver.received} == {"/hooks?k=v"}


@pytest.mark.parametrize("status", [301, 400, 404, 408, 429, 500, 503])
async def test_it_is_tried_until_it_is_taken(
    stand: DeliveryStand, start_receiver: StartReceiver, status: int
) -> None:
    receiver: Receiver = start_receiver(lambda _: status if len(receiver.received) < 4 else 204)
    await stand.end("a", urls=[receiver.url])
    await stand.deliver_all()
    assert len(receiver.received) == 4
    assert len({received.id for received in receiver.received}) == 1
    assert len({received.body for received in receiver.received}) == 1


async def test_each_attempt_is_signed_for_its_own_time(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    receiver: Receiver = start_receiver(lambda _: 500 if len(receiver.received) < 2 else 200)
    await stand.end("a", urls=[receiver.url])
    await stand.deliver_all(delay=1.1)
    first, second = receiver.received
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    second.unwrapped()


async def test_410_is_the_end_of_it(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receiver: Receiver = start_receiver(lambda _: 410)
    await stand.end("a", urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(lambda: "webhook_given_up" in events_of(logs))
    assert stand.pending() == {}
    assert len(receiver.received) == 1
    [line] = [line for line in logs if line["event"] == "webhook_given_up"]
    assert (line["job_id"], line["attempt"]) == ("a", 1)
    assert "410" in line["reason"]


async def test_a_day_after_the_event_it_is_given_up(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    receiver: Receiver = start_receiver(lambda _: 500)
    await stand.end("a", urls=[f"{receiver.url}/?token=secret"])
    [key] = stand.pending()
    with structlog.testing.capture_logs() as logs:
        stand.client.hset(key, "created_at", int(time.time()) - 86_400 + 60)
        await stand.deliver_until(lambda: events_of(logs).count("webhook_failed") > 2)
        assert stand.pending()
        stand.client.hset(key, "created_at", int(time.time()) - 86_400)
        await stand.deliver_until(lambda: "webhook_given_up" in events_of(logs))
    assert stand.pending() == {}
    told = events_of(logs)
    assert told == ["webhook_failed"] * (len(told) - 1) + ["webhook_given_up"]
    assert logs[0]["reason"] == "HTTP 500"
    assert "secret" not in str(logs)


async def test_retry_after_is_honoured_within_reason(
    stand: DeliveryStand, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_worker_module, "LONGEST_DELAY", 2.0)
    receiver: Receiver = start_receiver(
        lambda _: (
            (503, {"Retry-After": ["1", "86400"][len(receiver.received) - 1]})
            if len(receiver.received) < 3
            else 200
        )
    )
    await stand.end("a", urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_all(delay=0.0)
    assert [line["retry_in"] for line in logs if line["event"] == "webhook_failed"] == [1.0, 2.0]
    first, second, third = (received.at for received in receiver.received)
    assert second - first >= 1.0
    assert third - second >= 2.0


def test_delays_grow_with_jitter_up_to_an_hour() -> None:
    for attempt, longest in ((1, 4), (2, 8), (5, 64), (20, 3600), (1000, 3600)):
        delays = {BACKOFF.compute(attempt) for _ in range(50)}
        assert len(delays) > 10
        assert longest / 2 <= min(delays)
        assert max(delays) <= longest


async def test_a_slow_receiver_holds_nobody_up(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    """All others have their events before it has answered a single time."""
    may_answer = threading.Event()

    def dawdle(_: Received) -> int:
        may_answer.wait(PATIENCE)
        return 200

    slow, quick = start_receiver(dawdle), start_receiver()
    await stand.end(*(f"s{number}" for number in range(100)), urls=[slow.url])
    await stand.end(*(f"q{number}" for number in range(20)), urls=[quick.url])
    await stand.deliver_until(lambda: len(quick.received) == 20, patience=PATIENCE)
    assert len(slow.received) == 1, "it has yet to show that it answers"
    may_answer.set()


async def test_several_processes_deliver_once(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receivers = [start_receiver() for _ in range(3)]
    for number, receiver in enumerate(receivers):
        await stand.end(*(f"{number}-{job}" for job in range(40)), urls=[receiver.url])
    await stand.deliver_all(workers=4)
    for receiver in receivers:
        counts = Counter(received.id for received in receiver.received)
        assert len(counts) == 40
        assert set(counts.values()) == {1}


async def test_an_attempt_that_was_cut_off_is_made_again(
    stand: DeliveryStand, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends while a slow receiver has not answered; another one delivers after the lease."""
    monkeypatch.setattr(delivery_worker_module, "LEASE_MARGIN", 0.5)
    process_has_ended = threading.Event()

    def respond(_: Received) -> int:
        process_has_ended.wait(PATIENCE)
        return 200

    receiver: Receiver = start_receiver(respond)
    await stand.end("a", urls=[receiver.url])
    await stand.deliver_until(lambda: bool(receiver.received), patience=1.0)
    assert len(stand.pending()) == 1
    process_has_ended.set()
    await stand.deliver_all()
    assert len(receiver.received) > 1
    assert len({received.id for received in receiver.received}) == 1


async def test_a_mistake_in_one_delivery_ends_no_other(
    stand: DeliveryStand, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver: Receiver = start_receiver()
    await stand.end("bad", "good", urls=[receiver.url])

    def trip(delivery: Delivery) -> bytes:
        if delivery.job_id == "bad":
            raise RuntimeError("a mistake of ours")
        return event_body(delivery)

    monkeypatch.setattr("framegate.server.webhooks.delivery_worker.event_body", trip)
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(
            lambda: {"webhook_attempt_crashed", "webhook_delivered"} <= {*events_of(logs)}
        )
    assert len(stand.pending()) == 1
    assert [received.unwrapped().data.to_dict() for received in receiver.received] == [{"id": "good"}]


async def test_a_worker_that_is_to_finish_ends_its_attempt_and_begins_no_other(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    answers = threading.Event()

    def respond(_: Received) -> int:
        assert answers.wait(PATIENCE)
        return 200

    receiver = start_receiver(respond)
    await stand.end("a", urls=[receiver.url])
    async with stand.delivery_store() as store:
        worker = stand.delivery_worker(store, patience=30.0, delay=0.05)
        running = asyncio.create_task(worker.run())
        await reached(lambda: len(receiver.received) == 1)
        worker.finish()
        await stand.end("b", urls=[receiver.url])
        answers.set()
        await running
    assert [list(stand.pending().values()), len(receiver.received)] == [[f"@127.0.0.1:{receiver.port}"], 1]
