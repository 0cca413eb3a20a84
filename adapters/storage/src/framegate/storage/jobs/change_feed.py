"""One subscription per process, which tells what jobs have changed."""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import redis.asyncio
import structlog

from framegate.core.concurrency import cancel_and_wait
from framegate.storage.jobs.records import CHANGED_CHANNEL
from framegate.storage.subscriptions import messages

log = structlog.get_logger(__name__)

REREAD_SECONDS = 15.0
"""How often any job may have changed although no change was announced: an announcement may be lost, and the
server's scripts go on where they may not publish."""
_RECONNECT_SECONDS = 0.5


class ChangeFeed:
    """Listen to the announcements of changed jobs, from the first call of `follow` on."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._client = client
        self._channel = f"{prefix}{CHANGED_CHANNEL}"
        self._listeners: list[Callable[[str | None], None]] = []
        self._listening = False
        self._tasks: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        """End the subscription."""
        await cancel_and_wait(self._tasks)

    def follow(self, on_change: Callable[[str | None], None]) -> Callable[[], None]:
        """Call ``on_change`` with the id of each job that changes, until what is returned is called.

        None stands for any job: once the subscription has begun, or begun again after its connection was
        lost, and every `REREAD_SECONDS` while it lasts.
        """
        self._listeners.append(on_change)
        if not self._tasks:
            # In contexts of their own: what they log is no request's.
            self._tasks = [
                asyncio.create_task(run(), context=contextvars.Context())
                for run in (self._listen, self._reread)
            ]
        return partial(self._listeners.remove, on_change)

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(messages(self._client, self._channel)) as found:
                    async for message in found:
                        if message is None:
                            continue
                        if message["type"] == "subscribe":
                            self._listening = True
                            self._announce(None)
                        else:
                            self._announce(message["data"])
            except (redis.RedisError, OSError) as error:
                self._listening = False
                log.warning("change_feed_interrupted", error=type(error).__name__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _reread(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            # While there is no connection, a reader would only be told so.
            if self._listening:
                self._announce(None)

    def _announce(self, job_id: str | None) -> None:
        for on_change in tuple(self._listeners):
            on_change(job_id)
