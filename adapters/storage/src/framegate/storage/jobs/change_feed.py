"""One subscription per process, which notifies every watcher when its job has changed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import redis.asyncio
import structlog
from redis.asyncio.client import PubSub

from framegate.core.concurrency import cancel_and_wait
from framegate.storage.jobs.records import CHANGED_CHANNEL

log = structlog.get_logger(__name__)


class ChangeFeed:
    """Notify those who wait for a job's changes.

    A tick means "read it again": after a lost connection every watcher gets one.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._client = client
        self._channel = f"{prefix}{CHANGED_CHANNEL}"
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End the subscription."""
        if self._task is not None:
            await cancel_and_wait([self._task])

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncGenerator[AsyncGenerator[None, None]]:
        """Yield ticks from the moment of entering on; a change between two of them is never missed."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        # While the server can't be reached there is nothing to listen to; the caller's own reads say so.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._listening.wait()
        ticks = _ticks(event)
        try:
            yield ticks
        finally:
            await ticks.aclose()
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._read(subscription)
            except redis.RedisError as error:
                self._listening.clear()
                log.warning("change_feed_interrupted", error=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _read(self, subscription: PubSub) -> None:
        while True:
            message = cast("dict[str, str] | None", await subscription.get_message(timeout=None))
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._listening.set()
                for event in [event for events in self._waiting.values() for event in events]:
                    event.set()
            elif message["type"] == "message":
                for event in self._waiting.get(message["data"], ()):
                    event.set()


async def _ticks(event: asyncio.Event) -> AsyncGenerator[None, None]:
    while True:
        await event.wait()
        event.clear()
        yield
