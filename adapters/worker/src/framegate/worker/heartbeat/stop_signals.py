"""Notify the heartbeat process of its worker's stop signals, whatever the worker is busy with.

Python's signal handlers wait for the GIL, which a model's native code may hold for minutes. Before they run,
however, at once and without the GIL, the number of the signal is written where `signal.set_wakeup_fd` says:
into a socket whose other end the heartbeat process has.
"""

import os
import signal
import socket
from functools import partial

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

LEAVE_SECONDS = 2.0
"""How long a job may take, once ``shutdown_grace`` is over, to reach a point where it can be left. Then its
worker requeues it and ends."""
LAST_RESORT_SECONDS = LEAVE_SECONDS + 1
"""When the heartbeat process does so, if the worker could not."""


def forward_signals() -> int:
    """Return the file descriptor for `wait_for_stop` in heartbeat processes. Call it in the main thread."""
    sending, receiving = socket.socketpair()
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.detach(), warn_on_full_buffer=False)  # stays open until the worker ends
    # A signal to a process that a model forked must not stop the worker.
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, STOP_SIGNALS),
        after_in_parent=_unblock_signals,
        after_in_child=_stop_forwarding,
    )
    return receiving.detach()


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _stop_forwarding() -> None:
    signal.set_wakeup_fd(-1)
    _unblock_signals()


def wait_for_stop(signal_socket: int) -> bool:
    """Return True once the worker has received a stop signal, False if it ended without one.

    The signal stays in the socket, for a heartbeat process that is started later.
    """
    receiving = socket.socket(fileno=signal_socket)
    while numbers := receiving.recv(1024, socket.MSG_PEEK):
        if not STOP_SIGNALS.isdisjoint(numbers):
            return True
        receiving.recv(len(numbers))
    return False
