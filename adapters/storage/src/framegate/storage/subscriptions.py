"""Subscriptions that notice when their connection has fallen silent.

A host that is gone, or a firewall that has forgotten a connection, ends it without a word: a subscriber would
wait for ever. So whoever has heard nothing for `PING_SECONDS` sends a PING, and takes the connection for
dead if nothing comes within `PONG_SECONDS`.
"""

import time
from collections.abc import AsyncGenerator
from typing import TypedDict, cast

import redis
import redis.asyncio

PING_SECONDS = 5.0
PONG_SECONDS = 3.0
_TYPES = ("subscribe", "message")


class Message(TypedDict):
    """What redis-py returns: ``type`` is "subscribe" or "message"."""

    type: str
    channel: str
    data: str


class Liveness:
    """Decide when a subscription is pinged, and when it is dead, by the time since something was heard.

    It is pinged after ``ping_after`` seconds without a message.
    """

    def __init__(self, ping_after: float = PING_SECONDS) -> None:
        self._ping_after = ping_after
        self._heard_at = time.monotonic()
        # The subscription itself is to be confirmed as soon as a PING would be.
        self._pinged_at: float | None = self._heard_at

    def heard(self) -> None:
        """Note that something has come."""
        self._heard_at, self._pinged_at = time.monotonic(), None

    @property
    def seconds_left(self) -> float:
        """How long to wait for a message until `is_ping_due` has to be asked."""
        due = self._heard_at + self._ping_after if self._pinged_at is None else self._pinged_at + PONG_SECONDS
        return max(due - time.monotonic(), 0.001)

    def is_ping_due(self) -> bool:
        """Return whether to send a PING now; it then counts as sent.

        Raises:
            redis.TimeoutError: The last one has not been answered in time.
        """
        now = time.monotonic()
        if self._pinged_at is not None:
            if now - self._pinged_at >= PONG_SECONDS:
                raise redis.TimeoutError("The subscription has fallen silent.")
            return False
        if now - self._heard_at < self._ping_after:
            return False
        self._pinged_at = now
        return True


async def messages(
    client: redis.asyncio.Redis, channel: str, *, ping_after: float = PING_SECONDS
) -> AsyncGenerator[Message | None]:
    """Subscribe to ``channel`` and yield what comes.

    That is a "subscribe" after each (re)connection, each "message", and None after ``ping_after`` seconds
    without one.

    Raises:
        redis.RedisError: The connection is lost, or has fallen silent.
    """
    async with client.pubsub() as subscription:
        await subscription.subscribe(channel)
        liveness = Liveness(ping_after)
        while True:
            wait = liveness.seconds_left
            message = cast("Message | None", await subscription.get_message(timeout=wait))
            if message is not None:
                liveness.heard()
                # The answer to a PING is a message as well; redis-py names its type after the protocol.
                yield message if message["type"] in _TYPES else None
            elif liveness.is_ping_due():
                await subscription.ping()
