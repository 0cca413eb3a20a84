"""One connection for the calls of all requests: those of one turn of the event loop go out in one write.

redis-py borrows a connection for each call, and writes, waits and parses for each alone, which takes
70-140 µs of a process's time. It still makes the connection here (TLS, Sentinel, log-in); replies are then
parsed as they arrive, in order, together with what the server pushes by itself.
"""

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol, cast

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from framegate.core.concurrency import cancel_and_wait
from framegate.storage.link import Call, Convert, Link, pack

REPLY_SECONDS = 2.5
"""How long the server may stay silent while calls wait for it."""
CALL_SECONDS = 2 * REPLY_SECONDS
"""How long a call takes at most, with whatever is needed for it: it may be sent twice."""
DOUBT_SECONDS = 0.25
"""After how much silence nothing more is sent until the server answers. What it gets while it stands still it
does once it goes on, when whoever waited has long been told that it can't be reached."""
_TRACK = pack(("CLIENT", "TRACKING", "ON", "OPTIN"))
_TRACKED = pack(("CLIENT", "CACHING", "YES"))


class KeyTracker(Protocol):
    """Who is told which of the keys have changed that were read by tracked calls."""

    def on_tracking(self, *, is_tracking: bool) -> None:
        """Note that the server says so from now on, on a new connection, or no longer."""
        ...

    def on_invalidated(self, keys: Sequence[str] | None) -> None:
        """Note that these keys have changed; None for all."""
        ...


class MultiplexedConnection:
    """Send commands over one connection, which is made when it is first needed, and again when it was lost.

    As with redis-py, a call whose connection is lost, or whose server stays silent for `REPLY_SECONDS`, is
    repeated once; so what it does twice must be the same as once. Calls raise `redis.RedisError`, after
    `CALL_SECONDS` at the latest.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._pool = client.connection_pool
        self._tracker: KeyTracker | None = None
        self._connection: AbstractConnection | None = None
        self._link: Link | None = None
        self._unsent: list[Call] = []
        self._flush_due = False
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def close(self) -> None:
        """Close the connection; calls that still wait fail, and so do later ones."""
        self._is_closed = True
        if self._opening is not None:
            await cancel_and_wait([self._opening])
        self.lose(self._link, _closed())
        self._fail_unsent(_closed())
        self._stop_timer()
        if self._connection is not None:
            await self._connection.disconnect()  # which waits for the transport

    def track(self, tracker: KeyTracker) -> None:
        """Tell ``tracker`` about the keys that tracked calls read; set it before the first call."""
        self._tracker = tracker

    def call(
        self, *command: str | bytes | float, convert: Convert | None = None, is_tracked: bool = False
    ) -> "asyncio.Future[Any]":
        """Send a command with the others of this turn of the event loop, and return its result to come.

        ``convert`` makes the result as soon as the reply has arrived, before what came after it is looked at.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._is_closed:
            future.set_exception(_closed())
            return future
        packed = _TRACKED + pack(command) if is_tracked else pack(command)
        due = loop.time() + CALL_SECONDS
        self._unsent.append(Call(packed, convert, future, due=due, replies_before=int(is_tracked)))
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
        return None if self._link is None else self._link.descriptor

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._unsent or self._is_closed:
            return
        if self._link is not None:
            if not self._link.is_quiet(DOUBT_SECONDS):
                calls, self._unsent = self._unsent, []
                self._link.send(calls)
        elif self._opening is None:
            self._opening = asyncio.create_task(self._open())
        if self._timer is None:
            self._set_timer()

    async def _open(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # in redis-py
                self._connection.protocol = 3  # so that the server may push
                # A server that doesn't answer is asked once: whoever waits is to try again soon.
                self._connection.retry = Retry(NoBackoff(), 1, (redis.ConnectionError,))
            await self._connection.disconnect(nowait=True)
            await self._connection.connect()
            link = Link(self, self._connection)
        except Exception as error:  # whatever it is, nobody else would tell those who wait
            is_known = isinstance(error, redis.RedisError)
            self._fail_unsent(
                error if is_known else redis.ConnectionError(f"{type(error).__name__}: {error}")
            )
            return
        finally:
            self._opening = None
        self._link = link
        self._stop_timer()  # it is that of the calls' own ends
        if self._tracker is not None:
            link.send([Call(_TRACK, self._begin_tracking)])
        self._flush()

    def _begin_tracking(self, reply: Any) -> None:
        if self._tracker is not None:
            self._tracker.on_tracking(is_tracking=not isinstance(reply, Exception))

    # What the link says.

    def on_heard(self) -> None:
        """Send what was kept back while the server was silent."""
        if self._unsent:
            self._flush_soon()

    def on_reply_before(self, reply: Any) -> None:
        """Note the reply to what went before a call so that its keys are tracked."""
        if isinstance(reply, Exception):
            self._begin_tracking(reply)

    def on_push(self, push: Sequence[Any]) -> None:
        """Take what the server says by itself."""
        if self._tracker is not None and push[0] == "invalidate":
            self._tracker.on_invalidated(push[1])

    def lose(self, link: Link | None, error: Exception) -> None:
        """Give up a connection, and repeat the calls that wait on another one."""
        if link is None or link is not self._link:
            return
        self._link = None
        self._stop_timer()
        link.abort()
        if self._tracker is not None:
            self._tracker.on_tracking(is_tracking=False)
        again: list[Call] = []
        for call in link.sent:
            if call.is_repeated:
                call.fail(error)
            elif call.is_awaited:
                call.is_repeated = True
                again.append(call)
        self._unsent[:0] = again
        self._flush_soon()

    # Time limits.

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        waiting = itertools.chain(self._link.sent if self._link else (), self._unsent)
        due = next((call.due for call in waiting if call.is_awaited), math.inf)
        if self._link is not None and self._link.sent:
            due = min(due, self._link.quiet_since + REPLY_SECONDS)
        if due < math.inf:
            self._timer = asyncio.get_running_loop().call_at(due, self._check_time)

    def _check_time(self) -> None:
        """Fail the calls whose time is over, and give up a connection on which nothing comes."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = redis.TimeoutError("Timeout reading from the server")
        link = self._link
        for call in itertools.chain(link.sent if link is not None else (), self._unsent):
            if call.due > now:
                break
            call.fail(late)
        self._unsent = [call for call in self._unsent if call.is_awaited]
        if link is not None and link.sent and link.quiet_since + REPLY_SECONDS <= now:
            self.lose(link, late)
        else:
            self._set_timer()

    def _fail_unsent(self, error: Exception) -> None:
        calls, self._unsent = self._unsent, []
        for call in calls:
            call.fail(error)


def _closed() -> redis.ConnectionError:
    return redis.ConnectionError("The connection was closed.")
