"""How many files and connections the process may have open at once."""

import resource
from contextlib import suppress

_MOST_CONNECTIONS = 8192
_ALL_OPEN = 2**20
"""What stands in for an unlimited number of files, which some systems report but don't grant."""


def raise_file_limit() -> int:
    """Raise the number of files that this process and its children may open as far as allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # more than the kernel's own limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return _ALL_OPEN if soft == resource.RLIM_INFINITY else soft


def default_max_connections(max_files: int) -> int:
    """Return how many connections leave as many files again for bodies, results, fetches and Valkey."""
    return max(1, min(max_files // 2, _MOST_CONNECTIONS))
