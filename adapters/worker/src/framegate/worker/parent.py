"""The tie between a worker and the process that started it, which is the worker's standard input."""

import os
import signal
import threading
from contextlib import suppress


def report_start() -> None:
    """Tell that process that this worker takes jobs."""
    with suppress(OSError):  # it may be gone already
        os.write(0, b"\n")


def end_with_parent() -> None:
    """Kill this process as soon as the process that holds the other end of its standard input has ended.

    Its job is then taken by the next worker, as after any crash.
    """

    def wait_for_end() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
