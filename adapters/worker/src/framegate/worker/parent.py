"""The tie between a worker and the process that started it, which is the worker's standard input."""

import os
import signal
import threading
from contextlib import suppress


def report_start() -> None:
    """Tell that process that this worker takes jobs."""
    with suppress(OSError):  # it may be gone already
        os.write(0, b"\n")


def end_with_parent() -> int:
    """Kill this worker as soon as the process that holds the other end of its standard input has ended.

    Its job is then taken by the next worker, as after any crash. Return another descriptor of that tie, for
    the heartbeat process: this one can't do it while native code holds the GIL.
    """
    parent = os.dup(0)

    def end() -> None:
        wait_for_end(0)
        kill_worker(os.getpid())

    threading.Thread(target=end, name="parent", daemon=True).start()
    return parent


def wait_for_end(parent: int) -> None:
    """Wait until the process at the other end of this descriptor, which never writes, has ended."""
    with suppress(OSError):
        while os.read(parent, 1024):
            pass


def kill_worker(pid: int) -> None:
    """Kill a worker and what it has started, its heartbeat process too: they are a process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it was started by hand, in somebody else's group
        os.kill(pid, signal.SIGKILL)
