"""SIGHUP: the config has changed, or the terminal is gone."""

import os
import signal
import termios
import threading
from collections.abc import Callable
from queue import SimpleQueue

_STDERR = 2


class Hangups:
    """The SIGHUPs that come from when this is made, in the main thread: from the start of a process on.

    A terminal that is closed sends SIGHUP too. What was started in it to show its log there ends then, as by
    SIGTERM. What ``nohup`` has started, or writes its log elsewhere, reads its config again and goes on.
    """

    def __init__(self) -> None:
        # What puts into it may interrupt itself: a signal handler can't take a lock.
        self._received: SimpleQueue[None] = SimpleQueue()
        self._in_terminal = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and os.isatty(_STDERR)
        signal.signal(signal.SIGHUP, self._receive)

    def _receive(self, *_: object) -> None:
        if self._in_terminal and _is_closed(_STDERR):
            signal.raise_signal(signal.SIGTERM)
        else:
            self._received.put(None)

    def follow(self, reload: Callable[[], object]) -> None:
        """Call ``reload`` for each in a thread of its own; those that come meanwhile count as one."""

        def run() -> None:
            while True:
                self._received.get()
                while not self._received.empty():
                    self._received.get()
                reload()

        threading.Thread(target=run, name="reload", daemon=True).start()


def _is_closed(terminal: int) -> bool:
    try:
        termios.tcgetattr(terminal)
    except termios.error:
        return True
    return False
