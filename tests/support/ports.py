"""Loopback ports that stay with the test that asked for them."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(tempfile.gettempdir()) / "framegate-test-ports"
_EPHEMERAL_ON_LINUX = Path("/proc/sys/net/ipv4/ip_local_port_range")
_locks: list[int] = []
"""Open until this process ends, and the reservations with them."""


def free_port() -> int:
    """Reserve a port of loopback for this process and the servers that it starts, until it ends.

    A port that the kernel picked won't do: while its server is down, for example between two starts, the
    kernel may give it to somebody else. So these are outside of what the kernel hands out, and a lock on a
    file keeps tests that run beside these from them.
    """
    _FOLDER.mkdir(mode=0o777, exist_ok=True)
    candidates = _candidates()
    for port in random.sample(candidates, len(candidates)):
        if _lock(port) and _is_free(port):
            return port
    raise AssertionError("every port is taken")


def _candidates() -> Sequence[int]:
    low, high = 49_152, 65_535
    if _EPHEMERAL_ON_LINUX.exists():
        low, high = map(int, _EPHEMERAL_ON_LINUX.read_text().split())
    return [port for port in range(10_000, 65_000) if not low <= port <= high] or range(1_024, 65_000)


def _lock(port: int) -> bool:
    try:
        descriptor = os.open(_FOLDER / str(port), os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _locks.append(descriptor)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
