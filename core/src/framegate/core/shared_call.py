"""A call that is made once for all who want its result, who wait for it no longer than they can afford."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from framegate.core.errors import FramegateError, Unavailable

Result = TypeVar("Result")


class SharedCall(Generic[Result]):
    """Make one call at a time, whose callers give up after ``patience`` seconds with the reason ``silent``.

    The call itself goes on then, and those who come meanwhile wait for the same one: so however many ask for
    what doesn't answer, one connection or thread waits for it. It must end by a time limit of its own. What
    it returned or raised is the answer for another ``fresh_for`` seconds.
    """

    def __init__(
        self,
        call: Callable[[], Coroutine[Any, Any, Result]],
        *,
        patience: float,
        silent: str,
        fresh_for: float = 0.0,
    ) -> None:
        self._call = call
        self._patience = patience
        self._silent = silent
        self._fresh_for = fresh_for
        self._task: asyncio.Task[Result | FramegateError] | None = None
        self._ended_at = -math.inf

    async def result(self) -> Result:
        """Return the result.

        Raises:
            Unavailable: The call has not ended in time.
            FramegateError: What it raised.
        """
        if self._task is None or (self._task.done() and time.monotonic() - self._ended_at >= self._fresh_for):
            self._task = asyncio.create_task(self._run())
        task = self._task
        await asyncio.wait([task], timeout=self._patience)
        if not task.done():
            raise Unavailable(self._silent)
        outcome = task.result()
        if isinstance(outcome, FramegateError):
            raise outcome
        return outcome

    async def _run(self) -> Result | FramegateError:
        try:
            return await self._call()
        except FramegateError as error:
            return error.with_traceback(None)
        finally:
            self._ended_at = time.monotonic()
