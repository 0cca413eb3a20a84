"""Receivers that are away delay nobody else's events, and get theirs when they are back."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
import structlog

from framegate.media.network.addresses import DialPolicy
from framegate.server.webhooks import slots
from framegate.server.webhooks.sender import Answer, WebhookSender
from framegate.storage.webhook_deliveries import PAUSE_AFTER, Standing
from tests.support.delivery_stand import DeliveryStand, reached
from tests.support.receiving import Receiver, StartReceiver, silent_receivers
from tests.support.running import PATIENCE


def named(logs: Sequence[MutableMapping[str, Any]], event: str) -> list[MutableMapping[str, Any]]:
    return [line for line in logs if line["event"] == event]


def attempts_of(stand: DeliveryStand) -> list[int]:
    return [int(stand.client.hget(key, "attempt") or 0) for key in stand.keys("fg:delivery:*")]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("dead", "owners"), [(8, 1), (40, 1), (40, 8), (40, 40)])
async def test_an_event_arrives_before_any_attempt_at_a_dead_receiver_has_timed_out(
    stand: DeliveryStand, start_receiver: StartReceiver, dead: int, owners: int, workers: int
) -> None:
    """Its receiver is as unknown as theirs, and belongs to the owner of a dead one."""
    living = start_receiver()
    with silent_receivers(dead) as silent, structlog.testing.capture_logs() as logs:
        urls = [each.url for each in silent]
        for number in range(owners):
            for repeat in range(4):
                await stand.end(f"d{number}-{repeat}", urls=urls[number::owners], owner=f"o{number}")
        async with stand.delivering(workers, patience=PATIENCE, delay=0.05):
            # All slots are taken, or all that there will be.
            await reached(lambda: sum(attempts_of(stand)) >= min(dead, 32))
            await stand.end("alive", urls=[living.url], owner="o0")
            await reached(lambda: bool(named(logs, "webhook_delivered")))
            assert len(living.received) == 1
            assert named(logs, "webhook_failed") == []
            await reached(lambda: all(each.connections for each in silent))
        assert {each.connections for each in silent} == {1}, "one attempt at a time, whoever makes it"


async def test_a_receiver_that_has_answered_is_served_among_any_number_of_dead_ones(
    stand: DeliveryStand, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of its own owner, more than there are slots."""
    monkeypatch.setattr(slots, "SLOTS", {Standing.PROVEN: 8, Standing.NEW: 8, Standing.FAILING: 8})
    living = start_receiver()
    await stand.end("first", urls=[living.url])
    await stand.deliver_all()
    with silent_receivers(20) as silent, structlog.testing.capture_logs() as logs:
        await stand.end("dead", urls=[each.url for each in silent])
        await stand.end("alive", urls=[living.url])
        await stand.deliver_until(
            lambda: bool(named(logs, "webhook_delivered")) and sum(attempts_of(stand)) >= 4,
            patience=PATIENCE,
        )
        assert sum(attempts_of(stand)) == 4, "half the slots of its standing"
    assert named(logs, "webhook_failed") == []


async def test_a_receiver_that_is_away_is_paused_and_gets_its_events_when_it_is_back(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    """Each change is logged once, however many processes deliver."""
    receiver = start_receiver()
    receiver.stop()
    jobs = [f"j{number}" for number in range(20)]
    await stand.end(*jobs, urls=[f"{receiver.url}/?token=hidden"], owner="alice")
    with structlog.testing.capture_logs() as logs:
        async with stand.delivering(2, patience=PATIENCE, delay=0.05):
            await reached(lambda: len(named(logs, "webhook_failed")) == 10)
            receiver.start()
            await reached(stand.all_settled)
    place = {"receiver": f"127.0.0.1:{receiver.port}", "owner": "alice"}
    [paused] = named(logs, "webhook_receiver_paused")
    assert place.items() <= paused.items()
    assert (paused["failures"], paused["reason"]) == (PAUSE_AFTER, "it can't be reached")
    assert paused["log_level"] == "warning"
    [back] = named(logs, "webhook_receiver_back")
    assert place.items() <= back.items()
    assert logs.index(paused) < logs.index(back)
    assert "hidden" not in str(logs)
    assert Counter(received.id for received in receiver.received).total() == 20
    assert len({received.id for received in receiver.received}) == 20


async def test_a_pause_holds_for_all_processes(stand: DeliveryStand, start_receiver: StartReceiver) -> None:
    receiver = start_receiver()
    receiver.stop()
    await stand.end(*(f"j{number}" for number in range(20)), urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(
            lambda: len(named(logs, "webhook_failed")) == PAUSE_AFTER, workers=2, delay=PATIENCE
        )
        await stand.end("later", urls=[receiver.url])
        other = start_receiver()
        await stand.end("other", urls=[other.url])
        await stand.deliver_until(lambda: len(other.received) == 1, workers=2, delay=PATIENCE)
    assert len(named(logs, "webhook_failed")) == PAUSE_AFTER
    assert named(logs, "webhook_failed")[-1]["retry_in"] == PATIENCE
    assert sorted(attempts_of(stand)) == [0] * (21 - PAUSE_AFTER) + [1] * PAUSE_AFTER


async def test_what_waits_for_a_paused_receiver_is_given_up_after_a_day(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    """Without an attempt at each, which would take for ever."""
    receiver = start_receiver()
    receiver.stop()
    await stand.end(*(f"j{number}" for number in range(20)), urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(lambda: len(named(logs, "webhook_receiver_paused")) == 1, delay=1.0)
        failed = len(named(logs, "webhook_failed"))
        for key in stand.pending():
            stand.client.hset(key, "created_at", int(time.time()) - 86_460)
        await stand.deliver_until(lambda: len(named(logs, "webhook_given_up")) == 20, delay=1.0)
    assert stand.pending() == {}
    assert {line["job_id"] for line in named(logs, "webhook_given_up")} == {f"j{n}" for n in range(20)}
    assert len(named(logs, "webhook_failed")) == failed
    assert {line["reason"] for line in named(logs, "webhook_given_up")} == {
        "its receiver has been away for a day"
    }


@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_receiver_that_answers_is_not_away(
    stand: DeliveryStand, start_receiver: StartReceiver, status: int
) -> None:
    receiver: Receiver = start_receiver(lambda _: status)
    await stand.end("a", urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(lambda: len(receiver.received) > 2 * PAUSE_AFTER)
    assert named(logs, "webhook_receiver_paused") == []


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_receiver_behind_a_proxy_is_away_when_the_proxy_says_so(
    stand: DeliveryStand, start_receiver: StartReceiver, status: int
) -> None:
    receiver: Receiver = start_receiver(lambda _: status)
    await stand.end("a", urls=[receiver.url])
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(lambda: len(receiver.received) > 2 * PAUSE_AFTER)
    assert len(named(logs, "webhook_receiver_paused")) == 1


async def test_what_one_owner_does_to_a_host_pauses_nobody_else_there(
    stand: DeliveryStand, start_receiver: StartReceiver
) -> None:
    """One of them names a path that never answers, as a host that many use may have."""
    leave = threading.Event()

    def respond(received: Any) -> int:
        if received.path == "/hang":
            leave.wait(PATIENCE)
        return 200

    receiver = start_receiver(respond)
    await stand.end(*(f"m{n}" for n in range(10)), urls=[f"{receiver.url}/hang"], owner="mallory")
    with structlog.testing.capture_logs() as logs:
        await stand.deliver_until(
            lambda: len(named(logs, "webhook_receiver_paused")) == 1, patience=0.2, delay=PATIENCE
        )
        await stand.end(*(f"a{n}" for n in range(10)), urls=[receiver.url], owner="alice")
        await stand.deliver_until(lambda: len(named(logs, "webhook_delivered")) == 10, delay=PATIENCE)
    assert [line["owner"] for line in named(logs, "webhook_receiver_paused")] == ["mallory"]
    leave.set()


async def test_names_that_nobody_resolves_hold_up_no_others(
    start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup can't be interrupted, so those of one owner get only some of them."""
    receiver, leave = start_receiver(), threading.Event()

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        if host.startswith("dead"):
            leave.wait(PATIENCE)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    sender = WebhookSender(DialPolicy(["127.0.0.1"]), timeout=PATIENCE)

    async def post(host: str, owner: str) -> Answer:
        return await sender.post(f"http://{host}:{receiver.port}/", b"{}", {"webhook-id": "e"}, owner=owner)

    stuck = [asyncio.create_task(post(f"dead{number}.example", "mallory")) for number in range(100)]
    try:
        async with asyncio.timeout(PATIENCE / 2):
            assert await post("alive.example", "alice") == Answer(200)
    finally:
        leave.set()
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_wrong_clock_of_this_host_changes_nothing(
    stand: DeliveryStand, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is days ahead; events are signed for the right time, and not given up."""
    receiver: Receiver = start_receiver(lambda _: 500 if len(receiver.received) < 3 else 200)
    await stand.end("a", urls=[receiver.url])
    now = time.time
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(time, "time", lambda: now() + 2 * 86_400)
        await stand.deliver_until(lambda: bool(named(logs, "webhook_delivered")))
    assert stand.pending() == {}
    assert len(named(logs, "webhook_failed")) == 2
    assert len(named(logs, "webhook_delivered")) == 1
    for received in receiver.received:
        received.unwrapped()


async def test_dates_to_be_asked_again_are_by_the_receivers_own_clock(start_receiver: StartReceiver) -> None:
    dates = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT"}
    head = "".join(f"{name}: {value}\r\n" for name, value in dates.items())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n{head}\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sender = WebhookSender(DialPolicy(["127.0.0.1"]), timeout=PATIENCE)
        assert await sender.post(f"http://127.0.0.1:{port}/", b"{}", {}) == Answer(503, 90.0)
