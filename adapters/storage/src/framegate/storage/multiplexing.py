"""One connection for the calls of all requests: those of one turn of the event loop go out in one write.

redis-py borrows a connection for each call, and writes, waits and parses for each alone, which takes
70-140 µs of a process's time. It still makes the connection here (TLS, Sentinel, log-in); replies are then
parsed as they arrive, in order, together with what the server pushes by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import redis
import redis.asyncio
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError

from framegate.core.concurrency import cancel_and_wait

REPLY_SECONDS = 2.5
"""How long the server may stay silent while calls wait for it."""
_INCOMPLETE = object()

# hiredis' stub names no result, and allows one element only.
pack: Callable[[tuple[str | bytes | float, ...]], bytes] = cast("Any", hiredis.pack_command)
"""Return a command as it is sent."""

Convert = Callable[[Any], Any]
"""What makes a call's result of its reply."""


class _Call:
    """A command that waits for its reply, if anybody waits for that.

    With ``is_preceded`` another command goes before it, whose reply doesn't matter. ``repeated`` tells
    whether it has been sent before.
    """

    __slots__ = ("command", "convert", "future", "is_preceded", "repeated", "replies_before", "sent_at")

    def __init__(
        self,
        command: bytes,
        convert: Convert | None,
        future: "asyncio.Future[Any] | None" = None,
        *,
        is_preceded: bool = False,
    ) -> None:
        self.command = command
        self.convert = convert
        self.future = future
        self.is_preceded = is_preceded
        self.replies_before = 0
        self.repeated = False
        self.sent_at = 0.0

    @property
    def is_awaited(self) -> bool:
        return self.future is not None and not self.future.done()

    def settle(self, reply: Any) -> None:
        """Make the result, even if nobody waits for it any more."""
        try:
            if isinstance(reply, Exception):
                raise reply
            result = self.convert(reply) if self.convert else reply
        except Exception as error:  # it is the caller's
            self.fail(error)
            return
        if self.future is not None and not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)


class _Greeting(_Call):
    """The first command of a connection, for whose reply or error nobody waits."""

    __slots__ = ()

    def settle(self, reply: Any) -> None:
        if self.convert:
            self.convert(reply)


class MultiplexedConnection(asyncio.Protocol):
    """Send commands over one connection, which is made when it is first needed, and again when it was lost.

    As with redis-py, a call whose connection is lost, or whose server stays silent for `REPLY_SECONDS`, is
    repeated once; so what it does twice must be the same as once. Calls raise `redis.RedisError`.

    ``greeting`` is the first command of each connection. Its reply, or its error, goes to ``on_greeted``,
    what the server pushes to ``on_push``; ``on_lost`` is called when nothing more comes from a connection.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        greeting: Sequence[str] = (),
        on_greeted: Convert = lambda _: None,
        on_push: Callable[[Sequence[Any]], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = client.connection_pool
        self._greeting = pack(tuple(greeting)) if greeting else b""
        self._on_greeted, self._on_push, self._on_lost = on_greeted, on_push, on_lost
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._streams: asyncio.BaseProtocol | None = None
        self._reader = hiredis.Reader()
        self._unsent: list[_Call] = []
        self._sent: deque[_Call] = deque()
        self._flush_due = False
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0

    async def close(self) -> None:
        """Close the connection; calls that still wait fail."""
        if self._opening is not None:
            await cancel_and_wait([self._opening])
        closed = redis.ConnectionError("The connection was closed.")
        self._lose(closed)
        self._fail_unsent(closed)
        if self._connection is not None:
            await self._connection.disconnect()  # which waits for the transport

    def call(
        self, *command: str | bytes | float, convert: Convert | None = None, before: bytes = b""
    ) -> "asyncio.Future[Any]":
        """Send a command with the others of this turn of the event loop, and return its result to come.

        ``convert`` makes the result as soon as the reply has arrived, before what came after it is looked at.
        ``before`` is a packed command that goes directly before this one; an error of it goes to
        ``on_greeted``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        packed = before + pack(command)
        self._unsent.append(_Call(packed, convert, future, is_preceded=bool(before)))
        self._flush_soon()
        return future

    async def run(self, script: AsyncScript, prefix: str, *arguments: str | bytes | float) -> Any:
        """Run a script by its digest; the server gets its text if it doesn't know it."""
        try:
            return await self.call("EVALSHA", script.sha, 1, prefix, *arguments)
        except NoScriptError:
            await self.call("SCRIPT", "LOAD", cast("str", script.script))
            return await self.call("EVALSHA", script.sha, 1, prefix, *arguments)

    @property
    def descriptor(self) -> int | None:
        """The socket's file descriptor, while there is a connection."""
        if self._transport is None:
            return None
        found = self._transport.get_extra_info("socket")
        return None if found is None else cast("int", found.fileno())

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
            return
        calls, self._unsent = self._unsent, []
        self._send(calls)

    def _send(self, calls: Sequence[_Call]) -> None:
        if not calls or self._transport is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call in calls:
            call.sent_at, call.replies_before = now, int(call.is_preceded)
        self._sent.extend(calls)
        self._transport.write(b"".join([call.command for call in calls]))
        if self._timer is None:
            self._timer = loop.call_later(REPLY_SECONDS, self._check_silence)

    def _check_silence(self) -> None:
        """Give up a connection on which calls have waited for too long without a sign of life."""
        self._timer = None
        if not self._sent:
            return
        loop = asyncio.get_running_loop()
        due = max(self._heard_at, self._sent[0].sent_at) + REPLY_SECONDS
        if loop.time() >= due:
            self._lose(redis.TimeoutError("Timeout reading from the server"))
        else:
            self._timer = loop.call_at(due, self._check_silence)

    async def _open(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # in redis-py
                self._connection.protocol = 3  # so that the server may push
            await self._connection.disconnect(nowait=True)
            await self._connection.connect()
        except (redis.RedisError, OSError) as error:
            reason = error if isinstance(error, redis.RedisError) else redis.ConnectionError(str(error))
            self._fail_unsent(reason)
            return
        finally:
            self._opening = None
        self._take_over(self._connection)

    def _take_over(self, connection: AbstractConnection) -> None:
        """Read and write what ``connection`` has connected to."""
        # redis-py has no name for the transport that others may use.
        writer = cast("asyncio.StreamWriter", connection._writer)  # pyright: ignore[reportPrivateUsage]
        transport = cast("asyncio.Transport", writer.transport)
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=cast("Callable[[str], Exception]", BaseParser.parse_error),
            encoding="utf-8",
            errors="replace",  # a damaged text must not break the replies around it
            notEnoughData=_INCOMPLETE,
        )
        self._streams = transport.get_protocol()
        self._transport = transport
        transport.set_protocol(self)
        if transport.is_closing():  # it was lost before anything could be heard of it
            self._lose(redis.ConnectionError("Connection closed by server."))
            return
        if self._greeting:
            self._send([_Greeting(self._greeting, self._on_greeted)])
        self._flush()

    # The protocol.

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and settle the calls that it answers."""
        self._heard_at = asyncio.get_running_loop().time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    self._on_push(reply)
                    continue
                if self._sent[0].replies_before:
                    self._sent[0].replies_before -= 1
                    if isinstance(reply, Exception):
                        self._on_greeted(reply)
                    continue
                self._sent.popleft().settle(reply)
                if isinstance(reply, ReadOnlyError):  # this is no longer the primary
                    self._lose(reply)
                    return
        except (redis.RedisError, hiredis.HiredisError, IndexError) as error:
            self._lose(redis.ConnectionError(f"The server's answer is damaged: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Repeat the calls that wait on another connection."""
        if self._streams is not None:  # so that redis-py can close its own end
            streams, self._streams = self._streams, None
            streams.connection_lost(exc)
        self._lose(redis.ConnectionError("Connection closed by server."))

    def _lose(self, error: redis.RedisError) -> None:
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost()
        again: list[_Call] = []
        while self._sent:
            call = self._sent.popleft()
            if call.repeated:
                call.fail(error)
            elif call.is_awaited:
                call.repeated = True
                again.append(call)
        self._unsent[:0] = again
        if self._unsent:
            self._flush_soon()

    def _fail_unsent(self, error: redis.RedisError) -> None:
        calls, self._unsent = self._unsent, []
        for call in calls:
            call.fail(error)
