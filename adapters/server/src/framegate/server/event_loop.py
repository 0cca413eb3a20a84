"""The event loop of a server's processes."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_SWITCH_SECONDS = 0.001
"""How long a thread that parses may keep the event loop of an API process waiting, at each of its turns."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop, or asyncio's own on platforms that uvloop doesn't support."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run(main: Coroutine[object, object, None]) -> None:
    """Run an API process, ``main``, on a loop of its own until it returns.

    No child process gets the files that this one was started with, such as an API process's listening socket:
    asyncio closes them in a child, uvloop doesn't.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    for file in Path("/dev/fd").iterdir():
        if (number := int(file.name)) > 2:
            with suppress(OSError):  # the listing's own
                os.set_inheritable(number, False)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
