"""Threads and tasks beside the one that waits for them."""

import asyncio
import contextvars
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from framegate.core.errors import Unavailable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_CANCEL_AGAIN_SECONDS = 2


class Threads:
    """At most ``size`` threads for one kind of blocking work, so that no kind waits for a slower one."""

    def __init__(self, kind: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=kind)

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run ``work`` in one of the threads, in the caller's context, and return its result."""
        call = partial(contextvars.copy_context().run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


FILE_THREADS = Threads("files", 16)
"""For the artifact store and other files; a bucket's may take seconds."""
PARSER_THREADS = Threads("parsing", 4)
"""For work on what clients have sent, which takes processor time."""


async def in_thread(work: Callable[[], Result], undo: Callable[[Result], object]) -> Result:
    """Run ``work`` in one of the `FILE_THREADS` and return its result.

    A thread can't be stopped: if the caller is cancelled meanwhile, the result is passed to ``undo``, in a
    thread as well, before the cancellation goes on.
    """
    task = asyncio.create_task(FILE_THREADS.run(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _end_of(task)
        if not task.cancelled() and task.exception() is None:
            await to_its_end(FILE_THREADS.run(undo, task.result()))
        raise


async def to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of ``work``, which runs to its end even if the caller is cancelled meanwhile.

    The cancellation goes on after that.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _end_of(task)
        raise


async def _end_of(task: "asyncio.Task[Any]") -> None:
    """Wait until a task has ended, however often the caller is cancelled meanwhile."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])


async def cancel_and_wait(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait until they have ended, even if the caller is cancelled meanwhile.

    The cancellation is repeated, after the time that a task may need to clean up: redis-py swallows one that
    arrives while it connects.
    """
    pending = {task for task in tasks if not task.done()}
    if pending:
        await to_its_end(_cancel_until_done(pending))


async def _cancel_until_done(pending: set[asyncio.Future[Any]]) -> None:
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)


class SharedTasks(Generic[Result]):
    """Do the same work once for all callers that want it at the same time."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Result]] = {}
        self._callers: Counter[str] = Counter()

    async def run(self, key: str, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return the result of the work called ``key``, which ``start`` begins unless it is under way.

        It is cancelled when the last of its callers is.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(start())
        self._callers[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._callers[key], self._tasks[key]
                await cancel_and_wait([task])


class CachedRead(Generic[Result]):
    """What ``read`` has returned last; it is read once for all callers that need it newer.

    What is more than ``fresh_for`` seconds old is used as well, but read again for later callers.
    """

    def __init__(self, read: Callable[[], Coroutine[Any, Any, Result]], *, fresh_for: float) -> None:
        self._read = read
        self._fresh_for = fresh_for
        self._reads: SharedTasks[Result] = SharedTasks()
        self._refresh: asyncio.Task[None] | None = None
        self._latest: Result | None = None
        self._read_at = -math.inf

    @property
    def age(self) -> float:
        """How many seconds ago it was read; infinity before the first time."""
        return time.monotonic() - self._read_at

    async def get(self, *, max_age: float) -> Result:
        """Return what was read less than ``max_age`` seconds ago, or the only result there is for infinity.

        Raises:
            Unavailable: It can't be read; nor is there one that is young enough.
        """
        age = self.age
        if self._latest is None or age >= max_age:
            return await self._reads.run("", self._read_now)
        if age > self._fresh_for and self._refresh is None:
            # In a context of its own: what is logged is no request's.
            self._refresh = asyncio.create_task(self._read_again(), context=contextvars.Context())
        return self._latest

    async def _read_now(self) -> Result:
        latest = await self._read()
        self._latest, self._read_at = latest, time.monotonic()
        return latest

    async def _read_again(self) -> None:
        try:
            with suppress(Unavailable):
                await self._reads.run("", self._read_now)
        finally:
            self._refresh = None
