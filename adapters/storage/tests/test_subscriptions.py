"""Connections that fall silent without being closed: nobody waits for ever, and no change is missed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import redis

from framegate.core.job_watches import JobWatches
from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async
from framegate.storage.jobs import change_feed
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.keys import ValkeyKeyStore
from framegate.storage.subscriptions import PING_SECONDS, PONG_SECONDS, Liveness, messages
from tests.support.external_valkey import ExternalValkey
from tests.support.sample_jobs import make_job
from tests.support.silent_relay import SilentRelay, silent_relay

NOTICED = PING_SECONDS + PONG_SECONDS + 5.0
"""Seconds within which a silent connection has been replaced, on a machine that has other things to do."""


@pytest.fixture
def relay(external: ExternalValkey) -> Iterator[SilentRelay]:
    with silent_relay(external.url) as found:
        yield found


async def test_a_watcher_sees_the_end_although_its_subscription_fell_silent(
    external: ExternalValkey, relay: SilentRelay
) -> None:
    store = ValkeyJobStore(connect_async(relay.url))
    with connect(external.url) as client:
        client.flushall()
        worker = WorkerStore(client, "w")
        await store.submit(make_job("watched"), limits=Limits())
        listening = asyncio.Event()
        store.follow(lambda _: listening.set())
        async with aclosing(JobWatches(store).watch("watched")) as states, asyncio.timeout(60):
            await anext(states)
            await listening.wait()
            relay.silence()
            job = await asyncio.to_thread(worker.claim, "q-test", ["test"])
            assert job is not None
            await asyncio.to_thread(worker.succeed, job, ())
            async with asyncio.timeout(NOTICED):
                found = [job.state async for job in states if job is not None]
    assert found[-1] == JobState.SUCCEEDED
    await store.close()


async def test_key_changes_are_noticed_on_a_silent_connection(relay: SilentRelay) -> None:
    keys = ValkeyKeyStore(connect_async(relay.url))
    async with aclosing(keys.changes()) as changes, asyncio.timeout(NOTICED):
        await anext(changes)
        accepted = relay.accepted
        relay.silence()
        while relay.accepted == accepted:
            await anext(changes)
    await keys.close()


async def test_calls_replace_silent_connections_of_their_pool(relay: SilentRelay) -> None:
    api, worker = connect_async(relay.url), connect(relay.url)
    await api.set("kept", "yes")
    assert worker.get("kept") == "yes"
    relay.silence()
    async with asyncio.timeout(NOTICED):
        assert await api.get("kept") == "yes"
    with pytest.raises(redis.TimeoutError):  # in time for its lease; a worker tries again
        worker.get("kept")
    assert worker.get("kept") == "yes"
    await api.aclose()
    worker.close()


async def test_a_quiet_channel_is_no_silence(external: ExternalValkey) -> None:
    async with connect_async(external.url) as client, asyncio.timeout(30):
        kinds: list[str | None] = []
        async with aclosing(messages(client, "quiet", ping_after=0.05)) as found:
            async for message in found:
                kinds.append(message and message["type"])
                if len(kinds) == 4:
                    break
    assert kinds == ["subscribe", None, None, None]


def test_a_ping_without_an_answer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    liveness = Liveness()
    now = PONG_SECONDS - 0.1
    assert not liveness.is_ping_due()
    liveness.heard()
    assert liveness.seconds_left == pytest.approx(PING_SECONDS)
    now += PING_SECONDS
    assert liveness.is_ping_due()
    assert not liveness.is_ping_due()
    now += PONG_SECONDS
    with pytest.raises(redis.TimeoutError):
        liveness.is_ping_due()


async def test_a_lost_announcement_delays_a_watcher_and_no_more(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(change_feed, "REREAD_SECONDS", 0.2)
    await store.submit(make_job("seen"), limits=Limits())
    async with aclosing(JobWatches(store).watch("seen")) as states, asyncio.timeout(60):
        await anext(states)
        client.hset("fg:job:seen", "message", "changed in silence")
        job = await anext(states)
    assert job is not None
    assert job.message == "changed in silence"
