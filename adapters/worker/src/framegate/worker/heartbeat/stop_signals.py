"""How a process hears that its worker was told to stop, whatever the worker is busy with.

Python's signal handlers wait for the GIL, which a model's native code may hold for minutes. Before them,
however, at once and without the GIL, the number of the signal is written where `signal.set_wakeup_fd` says:
into a socket whose other end the process has.
"""

import os
import signal
import socket
from functools import partial

STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})

LEAVE_SECONDS = 2.0
"""What a job gets, once ``shutdown_grace`` is over, to come to a point where it can be left. Then its worker
hands it back and ends."""
LAST_RESORT_SECONDS = LEAVE_SECONDS + 1
"""When the process does so, if the worker could not."""


def tell_signals() -> int:
    """In a worker's main thread: the file descriptor for `wait_for_stop` in its heartbeat processes."""
    told, heard = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)  # open as long as the worker lives
    # What is told to a process that a model forked is not told to its worker.
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, STOPPING),
        after_in_parent=_take_signals,
        after_in_child=_be_another_process,
    )
    return heard.detach()


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _be_another_process() -> None:
    signal.set_wakeup_fd(-1)
    _take_signals()


def wait_for_stop(signals: int) -> bool:
    """Until the worker was told to stop; False if it ended before. The next process hears it as well."""
    heard = socket.socket(fileno=signals)
    while numbers := heard.recv(1024, socket.MSG_PEEK):
        if not STOPPING.isdisjoint(numbers):
            return True
        heard.recv(len(numbers))
    return False
