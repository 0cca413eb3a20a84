"""Listen to a worker's channel: cancellations arrive there, and who listens is alive."""

import threading
import time
from collections.abc import Callable
from typing import cast

import redis
import structlog

from framegate.storage.subscriptions import Liveness

RETRY_SECONDS = 0.5
PING_SECONDS = 10.0
"""After how much silence the connection is tried."""
log = structlog.get_logger(__name__)


class ChannelListener:
    """Keep a subscription to ``channel``, from a thread of its own.

    ``on_message`` receives what is published there, ``on_subscribed`` is called after each subscription: what
    was published before is lost, and Valkey may have taken the worker for dead.
    """

    def __init__(
        self,
        client: redis.Redis,
        channel: str,
        *,
        on_message: Callable[[str], None],
        on_subscribed: Callable[[], None],
    ) -> None:
        self._client = client
        self._channel = channel
        self._on_message = on_message
        self._on_subscribed = on_subscribed

    def start(self) -> None:
        """Start listening."""
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except redis.RedisError as error:
                log.warning("valkey_unreachable", error=type(error).__name__)
                time.sleep(RETRY_SECONDS)

    def _listen(self) -> None:
        with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # untyped in redis-py
            subscription.subscribe(self._channel)
            liveness = Liveness(PING_SECONDS)
            while True:
                wait = liveness.seconds_left
                message = cast("dict[str, str] | None", subscription.get_message(timeout=wait))
                if message is None:
                    if liveness.is_ping_due():
                        subscription.ping()
                    continue
                liveness.heard()
                if message["type"] == "subscribe":
                    self._on_subscribed()
                elif message["type"] == "message":
                    self._on_message(message["data"])
