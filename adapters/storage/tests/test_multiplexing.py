"""Many calls over one connection: their order, their errors, and what becomes of them when it is lost."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from framegate.core.errors import Unavailable
from framegate.storage import multiplexing, scripts
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.multiplexing import MultiplexedConnection
from tests.support.external_valkey import ExternalValkey
from tests.support.ports import free_port
from tests.support.sample_jobs import make_job
from tests.support.silent_relay import silent_relay


@pytest.fixture
async def calls(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[MultiplexedConnection]:
    connected = connect_async(valkey.url)
    found = MultiplexedConnection(connected)
    yield found
    await found.close()
    await connected.aclose()


async def test_calls_of_one_turn_go_out_together_and_keep_their_order(
    calls: MultiplexedConnection, writes: list[int]
) -> None:
    await calls.call("PING")
    writes.clear()
    numbers = await asyncio.gather(*(calls.call("INCR", "fg:count") for _ in range(50)))
    assert numbers == list(range(1, 51))
    assert writes == [50]


async def test_an_error_is_that_of_its_call_alone(calls: MultiplexedConnection) -> None:
    replies = await asyncio.gather(
        calls.call("SET", "fg:text", "x"),
        calls.call("INCR", "fg:text"),
        calls.call("GET", "fg:text", convert=lambda text: f"<{text}>"),
        calls.call("GET", "fg:text", convert=lambda text: 1 // 0),
        calls.call("GET", "fg:text"),
        return_exceptions=True,
    )
    assert [reply for reply in replies if isinstance(reply, str)] == ["OK", "<x>", "x"]
    assert [type(reply) for reply in (replies[1], replies[3])] == [redis.ResponseError, ZeroDivisionError]


async def test_texts_that_are_damaged_break_no_replies(
    calls: MultiplexedConnection, client: redis.Redis
) -> None:
    client.set("fg:text", b"\xff\xfe")
    found = await asyncio.gather(*(calls.call(*command) for command in (("GET", "fg:text"), ("PING",))))
    assert found == ["\ufffd\ufffd", "PONG"]


async def test_who_is_cancelled_takes_no_answer_from_the_others(calls: MultiplexedConnection) -> None:
    await calls.call("PING")
    asked = [asyncio.ensure_future(calls.call("ECHO", str(number))) for number in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asyncio.gather(*asked[1:]) == ["1", "2"]


async def test_a_server_that_forgot_a_script_is_given_it(
    calls: MultiplexedConnection, client: redis.Redis
) -> None:
    script = connect_async("unix:///nowhere").register_script(scripts.WORKER_PRESENCE)
    for _ in range(2):
        client.script_flush()
        assert await calls.run(script, "fg:") == [[], []]


async def test_a_connection_that_is_lost_is_replaced(
    calls: MultiplexedConnection, client: redis.Redis
) -> None:
    for number in range(1, 4):
        client.client_kill_filter(_type="normal", skipme=True)
        assert await calls.call("INCR", "fg:count") == number


async def test_calls_are_repeated_once_on_a_connection_that_is_silent(
    external: ExternalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "REPLY_SECONDS", 0.2)
    with silent_relay(external.url) as relay:
        connected = connect_async(relay.url)
        calls = MultiplexedConnection(connected)
        assert await calls.call("PING") == "PONG"
        relay.silence()
        async with asyncio.timeout(20):
            assert await asyncio.gather(*(calls.call("ECHO", str(n)) for n in range(3))) == ["0", "1", "2"]
        await calls.close()
        await connected.aclose()


async def test_a_server_that_is_away_is_unavailable_and_found_again(external: ExternalValkey) -> None:
    store = ValkeyJobStore(connect_async(external.url))
    assert await store.get("none") is None
    external.kill()
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(Unavailable):
                await store.get("none")
    external.start()
    assert await store.get("none") is None
    await store.close()


async def test_a_server_that_stands_still_gets_nothing_that_it_would_do_too_late(
    external: ExternalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "DOUBT_SECONDS", 0.1)
    monkeypatch.setattr(multiplexing, "CALL_SECONDS", 1.0)
    client = connect_async(external.url)
    calls = MultiplexedConnection(client)
    await calls.call("PING")
    external.suspend()
    sent = asyncio.ensure_future(calls.call("INCR", "fg:early"))
    await asyncio.sleep(0.2)
    late = asyncio.ensure_future(calls.call("INCR", "fg:late"))
    await asyncio.wait([sent, late])
    external.resume()
    with pytest.raises(redis.TimeoutError):
        sent.result()
    with pytest.raises(redis.TimeoutError):
        late.result()
    monkeypatch.setattr(multiplexing, "CALL_SECONDS", 10.0)
    assert await calls.call("GET", "fg:early") == "1"
    assert await calls.call("GET", "fg:late") is None
    await calls.close()
    await client.aclose()


async def test_what_was_kept_back_is_sent_once_the_server_goes_on(
    external: ExternalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "DOUBT_SECONDS", 0.1)
    client = connect_async(external.url)
    calls = MultiplexedConnection(client)
    await calls.call("PING")
    external.suspend()
    sent = asyncio.ensure_future(calls.call("INCR", "fg:count"))
    await asyncio.sleep(0.2)
    kept_back = asyncio.ensure_future(calls.call("INCR", "fg:count"))
    await asyncio.sleep(0.1)
    external.resume()
    assert (await sent, await kept_back) == (1, 2)
    await calls.close()
    await client.aclose()


async def test_calls_fail_where_nothing_listens() -> None:
    store = ValkeyJobStore(connect_async(f"redis://127.0.0.1:{free_port()}/0"))
    found = await asyncio.gather(
        *(store.queue_positions([make_job("x")]) for _ in range(3)), return_exceptions=True
    )
    assert [type(error) for error in found] == [Unavailable] * 3
    await store.close()


async def test_calls_that_wait_fail_when_the_connection_is_closed(
    calls: MultiplexedConnection, client: redis.Redis
) -> None:
    before = len(client.client_list())
    await calls.call("PING")
    assert len(client.client_list()) == before + 1
    waiting = asyncio.ensure_future(calls.call("BLPOP", "fg:never", 5))
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(calls.close())
    with pytest.raises(redis.ConnectionError):
        await waiting
    await closing
    with pytest.raises(redis.ConnectionError, match="closed"):
        await calls.call("PING")
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(client.client_list()) == before, "none is made for calls that come too late"


@pytest.fixture
def opened(calls: MultiplexedConnection, monkeypatch: pytest.MonkeyPatch) -> AsyncMock:
    """What is done instead of connecting."""
    connect = AsyncMock()
    monkeypatch.setattr(AbstractConnection, "connect", connect)
    return connect


async def test_the_time_of_a_call_includes_that_of_connecting(
    calls: MultiplexedConnection, opened: AsyncMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "CALL_SECONDS", 0.05)
    opened.side_effect = asyncio.Event().wait
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(redis.TimeoutError):
                await calls.call("PING")
    assert opened.await_count == 1, "it goes on for whoever comes later"


async def test_a_call_fails_at_the_end_of_its_time_on_a_connection_that_is_not_silent_yet(
    external: ExternalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "CALL_SECONDS", 0.3)
    connected = connect_async(external.url)
    calls = MultiplexedConnection(connected)
    with pytest.raises(redis.TimeoutError):
        await calls.call("BLPOP", "fg:never", 1.5)
    await calls.close()
    await connected.aclose()


@pytest.mark.parametrize("error", [RuntimeError("odd"), OSError("no route"), redis.ConnectionError("gone")])
async def test_whatever_goes_wrong_in_connecting_is_told_to_those_who_wait(
    calls: MultiplexedConnection, opened: AsyncMock, error: Exception
) -> None:
    opened.side_effect = error
    async with asyncio.timeout(20):
        with pytest.raises(redis.ConnectionError, match=str(error)):
            await calls.call("PING")


async def test_the_end_of_an_earlier_connection_is_not_that_of_the_present_one(
    calls: MultiplexedConnection,
) -> None:
    await calls.call("PING")
    earlier = calls._link  # pyright: ignore[reportPrivateUsage]  # nothing else keeps it
    assert earlier is not None
    calls.lose(earlier, redis.ConnectionError("It is silent."))
    number = await calls.call("CLIENT", "ID")
    earlier.connection_lost(None)
    assert await calls.call("CLIENT", "ID") == number
