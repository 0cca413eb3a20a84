"""Log that no connection can be accepted once a second, instead of once for each that waits."""

import asyncio
import os
import time
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 1.0


class AcceptErrors:
    """An asyncio loop's exception handler.

    When the process has no file descriptor left, asyncio reports every connection in the backlog, and tries
    again after a second.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._suppressed = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of accepting, or pass another one on to asyncio's own handler."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and "accept" in context.get("message", "")):
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now < self._next:
            self._suppressed += 1
            return
        reason = os.strerror(error.errno) if error.errno else str(error)
        log.error("accept_failed", reason=reason, also_failed=self._suppressed)
        self._next, self._suppressed = now + _EVERY_SECONDS, 0
