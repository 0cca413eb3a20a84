"""An API process's end of the channel to its parent."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from framegate.cli.parent import end_with_parent
from framegate.server.api_processes.messages import Message, Start, decode


class ParentChannel:
    """The messages of the parent. This process ends with it from when this is made.

    Call everything in the main thread.
    """

    def __init__(self) -> None:
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._wake: Callable[[], object] | None = None
        end_with_parent(self._put)

    def _put(self, line: bytes) -> None:
        self._lines.put(line)
        if (wake := self._wake) is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                wake()

    def start(self) -> Start:
        """Return the first message, once it is here."""
        message = decode(self._lines.get())
        assert isinstance(message, Start)
        return message

    def follow(self, receive: Callable[[Message], object]) -> None:
        """Call ``receive`` in the running event loop with each further message, in their order."""
        loop = asyncio.get_running_loop()

        def drain() -> None:
            while not self._lines.empty():
                receive(decode(self._lines.get()))

        self._wake = lambda: loop.call_soon_threadsafe(drain)
        drain()

    @staticmethod
    def reply(line: bytes) -> None:
        """Write a line, with its end."""
        with suppress(OSError):  # the parent has gone, and so will this process
            os.write(0, line)
