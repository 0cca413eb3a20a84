"""Tasks that run beside the requests and never end by themselves."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

_PAUSE_AFTER_ERROR = 5.0


async def keep_running(run: Callable[[], Awaitable[None]]) -> None:
    """Run a background task until it returns, and restart it after an unexpected error."""
    while True:
        try:
            await run()
        except Exception as error:
            log.error("background_task_failed", restart_in=_PAUSE_AFTER_ERROR, exc_info=error)
        else:
            return
        await asyncio.sleep(_PAUSE_AFTER_ERROR)
