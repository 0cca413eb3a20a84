"""A connection to Valkey over which many calls go: what was sent, and what comes."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
import redis
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, ReadOnlyError

_INCOMPLETE = object()

# hiredis' stub names no result, and allows one element only.
pack: Callable[[tuple[str | bytes | float, ...]], bytes] = cast("Any", hiredis.pack_command)
"""Return a command as it is sent."""

Convert = Callable[[Any], Any]
"""What makes a call's result of its reply."""


class Call:
    """A command that waits for its reply until the time ``due`` of the event loop.

    ``replies_before`` is how many other commands go before it. Without a ``future`` nobody waits for the
    reply, which ``convert`` is given nevertheless, an error too. ``is_repeated`` tells whether it has been
    sent before, over another connection.
    """

    __slots__ = ("command", "convert", "due", "future", "is_repeated", "replies_before", "replies_left")

    def __init__(
        self,
        command: bytes,
        convert: Convert | None,
        future: "asyncio.Future[Any] | None" = None,
        *,
        due: float = 0.0,
        replies_before: int = 0,
    ) -> None:
        self.command = command
        self.convert = convert
        self.future = future
        self.due = due
        self.replies_before = replies_before
        self.replies_left = 0
        self.is_repeated = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody still waits for the result."""
        return self.future is not None and not self.future.done()

    def settle(self, reply: Any) -> None:
        """Make the result, even if nobody waits for it any more."""
        try:
            if isinstance(reply, Exception) and self.future is not None:
                raise reply
            result = self.convert(reply) if self.convert else reply
        except Exception as error:  # it is the caller's
            self.fail(error)
            return
        if self.future is not None and not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Raise ``error`` for whoever waits."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)


class LinkOwner(Protocol):
    """Who is told what comes over a connection, besides the replies of calls."""

    def on_heard(self) -> None:
        """Note that the server isn't silent any more."""
        ...

    def on_reply_before(self, reply: Any) -> None:
        """Take the reply of a command that went before a call, or its error."""
        ...

    def on_push(self, push: Sequence[Any]) -> None:
        """Take what the server says by itself."""
        ...

    def lose(self, link: "Link", error: redis.RedisError) -> None:
        """Replace the connection, which can't be used any more."""
        ...


class Link(asyncio.Protocol):
    """Send calls over what redis-py has connected to, and settle them in the order of their replies.

    ``quiet_since`` is the time of the event loop since which nothing has come although calls wait.
    """

    def __init__(self, owner: LinkOwner, connection: AbstractConnection) -> None:
        self._owner = owner
        # redis-py has no name for the transport that others may use.
        writer = cast("asyncio.StreamWriter", connection._writer)  # pyright: ignore[reportPrivateUsage]
        self._transport = cast("asyncio.Transport", writer.transport)
        self._streams = self._transport.get_protocol()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=cast("Callable[[str], Exception]", BaseParser.parse_error),
            encoding="utf-8",
            errors="replace",  # a damaged text must not break the replies around it
            notEnoughData=_INCOMPLETE,
        )
        self.sent: deque[Call] = deque()
        self.quiet_since = 0.0
        if self._transport.is_closing():  # before anything can be heard of it
            raise redis.ConnectionError("Connection closed by server.")
        self._transport.set_protocol(self)

    @property
    def descriptor(self) -> int | None:
        """The socket's file descriptor."""
        found = self._transport.get_extra_info("socket")
        return None if found is None else cast("int", found.fileno())

    def is_quiet(self, seconds: float) -> bool:
        """Return whether calls wait, and nothing has come for so long."""
        return bool(self.sent) and self.quiet_since + seconds <= asyncio.get_running_loop().time()

    def send(self, calls: Sequence[Call]) -> None:
        """Send calls in one write."""
        if not self.sent:
            self.quiet_since = asyncio.get_running_loop().time()
        for call in calls:
            call.replies_left = call.replies_before
        self.sent.extend(calls)
        self._transport.write(b"".join([call.command for call in calls]))

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and settle the calls that it answers."""
        self.quiet_since = asyncio.get_running_loop().time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    self._owner.on_push(reply)
                elif self.sent[0].replies_left:
                    self.sent[0].replies_left -= 1
                    self._owner.on_reply_before(reply)
                else:
                    self.sent.popleft().settle(reply)
                    if isinstance(reply, ReadOnlyError):  # this is no longer the primary
                        self._owner.lose(self, reply)
                        return
        except (redis.RedisError, hiredis.HiredisError, IndexError) as error:
            self._owner.lose(self, redis.ConnectionError(f"The server's answer is damaged: {error}"))
        self._owner.on_heard()

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the connection replaced."""
        self._streams.connection_lost(exc)  # so that redis-py can close its own end
        self._owner.lose(self, redis.ConnectionError("Connection closed by server."))
