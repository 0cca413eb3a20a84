"""The tie between a process and the one that keeps it running: its standard input, a socket."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress


def report_start() -> None:
    """Tell that process that this one takes jobs, or requests."""
    with suppress(OSError):  # it may be gone already
        os.write(0, b"\n")


def end_with_parent(receive: Callable[[bytes], object] | None = None) -> int:
    """Kill this process as soon as the one that holds the other end of its standard input has ended.

    Its job is then taken by the next worker, as after any crash. Each
    line that comes is passed to ``receive``, in a thread of its own. Return another descriptor of that tie:
    a worker's heartbeat process watches it too, as native code may hold the GIL here.
    """
    parent = os.dup(0)

    def end() -> None:
        try:
            with suppress(OSError), open(0, "rb", closefd=False) as lines:  # Path can't open a descriptor
                for line in lines:
                    if receive is not None:
                        receive(line)
        finally:
            kill_process_group(os.getpid())

    threading.Thread(target=end, name="parent", daemon=True).start()
    return parent


def wait_for_end(parent: int) -> None:
    """Wait until the process at the other end of this descriptor, which never writes, has ended."""
    with suppress(OSError):
        while os.read(parent, 1024):
            pass


def kill_process_group(pid: int) -> None:
    """Kill a supervised process and what it has started, such as a heartbeat process: they are a group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it was started by hand, in somebody else's group
        os.kill(pid, signal.SIGKILL)
