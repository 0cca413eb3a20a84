"""One subscription per process, which notifies every watcher when its job has changed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import redis.asyncio
import structlog

from framegate.core.concurrency import cancel_and_wait
from framegate.storage.jobs.records import CHANGED_CHANNEL
from framegate.storage.subscriptions import messages

log = structlog.get_logger(__name__)

REREAD_SECONDS = 15.0
"""How long it takes to tick once for every watched job although no change was announced: an announcement may
be lost, and the server's scripts go on where they may not publish."""
_RECONNECT_SECONDS = 0.5


class ChangeFeed:
    """Notify those who wait for a job's changes.

    A tick means "read it again": after a lost connection every watcher gets one, and otherwise within twice
    `REREAD_SECONDS`.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._client = client
        self._channel = f"{prefix}{CHANGED_CHANNEL}"
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """End the subscription."""
        await cancel_and_wait(self._tasks)

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncGenerator[AsyncGenerator[None, None]]:
        """Yield ticks from the moment of entering on; a change between two of them is never missed."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        if not self._tasks:
            self._tasks = [asyncio.create_task(run()) for run in (self._listen, self._reread)]
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
                async with aclosing(messages(self._client, self._channel)) as found:
                    async for message in found:
                        if message is None:
                            continue
                        if message["type"] == "subscribe":
                            self._listening.set()
                            for job_id in list(self._waiting):
                                self._tick(job_id)
                        else:
                            self._tick(message["data"])
            except (redis.RedisError, OSError) as error:
                self._listening.clear()
                log.warning("change_feed_interrupted", error=type(error).__name__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _reread(self) -> None:
        """Tick for one job after the other, so that all watchers of a job share what is read."""
        while True:
            watched = list(self._waiting)
            for job_id in watched:
                # While there is no connection, a watcher would only be told so.
                if self._listening.is_set():
                    self._tick(job_id)
                await asyncio.sleep(REREAD_SECONDS / len(watched))
            if not watched:
                await asyncio.sleep(REREAD_SECONDS)

    def _tick(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()


async def _ticks(event: asyncio.Event) -> AsyncGenerator[None, None]:
    while True:
        await event.wait()
        event.clear()
        yield
