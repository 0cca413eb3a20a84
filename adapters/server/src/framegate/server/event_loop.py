"""The event loop of a server's processes."""

import asyncio
from collections.abc import Coroutine
from importlib import import_module


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop, or asyncio's own on platforms that uvloop doesn't support."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run(main: Coroutine[object, object, None]) -> None:
    """Run ``main`` on a loop of its own until it returns."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
