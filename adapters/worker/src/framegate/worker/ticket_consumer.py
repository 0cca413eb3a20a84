"""Wait for the tickets of many queues on one connection."""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import cast

import redis
from dramatiq import Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed
from redis.connection import Connection

from framegate.storage.connections import is_transient
from framegate.worker.queue_rotation import QueueRotation

BLOCK_SECONDS = 10.0
"""How long Valkey lets one call wait for a ticket."""
SILENT_SECONDS = 5.0
"""How much longer than that its answer may take, before the connection counts as dead."""
RECHECK_SECONDS = 1.0
"""How soon a new queue, that of a model that was just added, is waited for as well."""


class TicketConsumer(Consumer):
    """Take one ticket at a time, of whichever queue in ``rotation`` has one first.

    It doesn't look for another one until that is acknowledged: a worker that is busy for an hour must not
    keep a ticket from the others. Before any ticket comes the message that ``upkeep`` returns: what is to be
    done to the models, for which it names no queue. Each step of the iteration takes at most ``timeout``
    seconds, while Valkey's end of the call waits on, so the worker can stop at any time.

    Steps raise `ConnectionClosed` while Valkey can't be reached, upon which Dramatiq makes another consumer.
    """

    def __init__(
        self,
        client: redis.Redis,
        rotation: QueueRotation,
        *,
        prefix: str,
        timeout: float,
        upkeep: Callable[[], Message[object] | None] = lambda: None,
    ) -> None:
        self._client = client
        self._rotation = rotation
        self._upkeep = upkeep
        self._prefix = prefix
        self._timeout = timeout
        self._acknowledged = threading.Event()
        self._acknowledged.set()
        self._connection: Connection | None = None
        self._queues: frozenset[str] = frozenset()
        self._deadline = self._recheck_at = 0.0

    def __next__(self) -> MessageProxy | None:
        """Return the next ticket, or None if there is none within the time-out."""
        if not self._acknowledged.is_set():
            self._acknowledged.wait(self._timeout)
            return None
        if (upkeep := self._upkeep()) is not None:
            self.close()  # a ticket that arrived meanwhile would wait for it
            self._acknowledged.clear()
            return MessageProxy(upkeep)
        with _outages_as_closed():
            if self._connection is None and not self._ask():
                return None
            return self._receive()

    def ack(self, message: MessageProxy) -> None:
        """Look for the next ticket from here on; this one is gone since it was taken."""
        self._acknowledged.set()

    def nack(self, message: MessageProxy) -> None:
        """Do the same for a ticket that led to an error: the store knows what became of the job."""
        self._acknowledged.set()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back tickets that were taken and not used."""
        with _outages_as_closed():
            for message in messages:
                if message.args[0]:  # a ticket
                    self._client.lpush(f"{self._prefix}{message.args[0]}", message.encode())

    def close(self) -> None:
        """End the wait, and put back a ticket that arrived meanwhile."""
        if self._connection is None:
            return
        with _outages_as_closed():
            try:
                if self._connection.can_read(0) and (late := self._take_reply()):
                    self.requeue([late])
            finally:
                self._hang_up()

    def _ask(self) -> bool:
        """Ask Valkey for a ticket; return whether there is any queue to ask for."""
        queues = self._rotation.queues_to_wait_for()
        if not queues:
            time.sleep(min(self._timeout, self._rotation.seconds_to_next(self._timeout)))
            return False
        seconds = self._rotation.seconds_to_next(BLOCK_SECONDS)
        connection = self._connection = self._client.connection_pool.get_connection()
        try:
            keys = [f"{self._prefix}{queue}" for queue in queues]
            connection.send_command("BLPOP", *keys, f"{seconds:.3f}")  # type: ignore[no-untyped-call]  # in redis-py
        except redis.RedisError:
            self._hang_up()
            raise
        now = time.monotonic()
        self._queues = self._rotation.queues
        self._deadline, self._recheck_at = now + seconds + SILENT_SECONDS, now + RECHECK_SECONDS
        return True

    def _receive(self) -> MessageProxy | None:
        assert self._connection is not None
        try:
            if self._connection.can_read(self._timeout):
                ticket = self._take_reply()
                if ticket is not None:
                    self._acknowledged.clear()
                return ticket
        except redis.RedisError:
            self._hang_up()
            raise
        now = time.monotonic()
        if now > self._deadline:
            self._hang_up()
            raise _closed("Valkey has not answered in time.")
        if now > self._recheck_at:
            self._recheck_at = now + RECHECK_SECONDS
            if self._rotation.queues != self._queues:
                self.close()
        return None

    def _take_reply(self) -> MessageProxy | None:
        connection = self._connection
        assert connection is not None
        reply = cast("tuple[bytes, bytes] | None", connection.read_response())
        self._connection = None
        self._client.connection_pool.release(connection)
        return MessageProxy(Message.decode(reply[1])) if reply else None

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()  # type: ignore[no-untyped-call]  # in redis-py
            self._client.connection_pool.release(connection)


@contextmanager
def _outages_as_closed() -> Generator[None]:
    """Report every passing error of Valkey as a closed connection: that is what Dramatiq waits out."""
    try:
        yield
    except redis.RedisError as error:
        if is_transient(error):
            raise _closed(str(error)) from error
        raise


def _closed(reason: str) -> ConnectionClosed:
    return ConnectionClosed(reason)  # type: ignore[no-untyped-call]  # Dramatiq leaves its errors untyped
