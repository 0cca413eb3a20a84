"""Confine the process that decodes: limits of the operating system, and an end together with its parent.

On Linux everything here holds; on macOS the kernel ignores the limit of memory, and the death of the parent
is noticed when the process next reads a task. There the alarm ends it in any case.
"""

import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path

_NICENESS = 5
_MAX_FILE = 512 * 2**20
_MAX_OPEN_FILES = 64
_ALARM_GRACE = 10.0
"""How much later than its parent the process itself ends a task that takes too long."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when ``parent`` ends, where the kernel can."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)


def confine(*, memory: int) -> None:
    """Give up what decoding does not need: priority, memory, open files, large files, core dumps."""
    # Ctrl-C and a service manager's stop are for the server, which ends its decoders when nobody needs them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _MAX_FILE)
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _limit(resource.RLIMIT_DATA, memory)


def start_task(timeout: float) -> None:
    """Give the next task that many seconds of CPU time, and end the process if its parent doesn't."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(usage.ru_utime + usage.ru_stime + timeout)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard == resource.RLIM_INFINITY else hard, hard))
    signal.setitimer(signal.ITIMER_REAL, timeout + _ALARM_GRACE)


def end_task() -> None:
    """Stop the alarm that `start_task` has set."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def resident_memory() -> int:
    """Return how many bytes of memory this process occupies; where that can't be found out, its peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
