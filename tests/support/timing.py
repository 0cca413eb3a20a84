"""Tell linear from quadratic by a processor's time, on a machine that others use too."""

import time
from collections.abc import Callable

SHORT, LONG = 10_000, 100_000
"""The lengths of texts to compare."""
MOST_SECONDS = 0.02
"""Of a short text. What is linear takes a hundredth of it."""
MOST_GROWTH = 40.0
"""A text ten times as long takes ten times the time, or a hundred times what is quadratic."""
SHORTEST = 0.000_25
"""Seconds below which the clock decides, not the text."""
TRIES = 5


def is_linear(short: Callable[[], object], long: Callable[[], object]) -> bool:
    """Return whether one of some tries is as fast as it should be: others use this machine's caches too."""
    for _ in range(TRIES):
        first = _seconds(short)
        if first > 10 * MOST_SECONDS:
            return False
        if first < MOST_SECONDS and _seconds(long) <= MOST_GROWTH * max(first, SHORTEST):
            return True
    return False


def _seconds(read: Callable[[], object]) -> float:
    started = time.process_time()
    read()
    return time.process_time() - started
