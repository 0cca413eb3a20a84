"""End a worker together with the server that started it."""

import os
import signal
import threading
from contextlib import suppress


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
