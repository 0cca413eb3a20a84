"""The processes of a server by their role, and what they use."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

API = "api"
VALKEY = "valkey"
HEARTBEAT = "heartbeat process"
WORKER = "worker"
DECODER = "decoder"
_MARKS = {
    VALKEY: "valkey-server",
    HEARTBEAT: "heartbeat.process",
    DECODER: "decoding.worker",
    WORKER: " worker",
}


def roles_of(pid: int) -> Mapping[str, Sequence[psutil.Process]]:
    """Return the processes of the ``framegate serve`` or ``framegate worker`` with this id, by their role.

    Whatever is none of its other processes serves the API.
    """
    process = psutil.Process(pid)
    found: dict[str, list[psutil.Process]] = {}
    for one in (process, *process.children(recursive=True)):
        command = " ".join(one.cmdline())
        role = next((role for role, mark in _MARKS.items() if mark in command), API)
        found.setdefault(role, []).append(one)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the time that a process's threads have spent on a CPU; unlike psutil's not in steps of 10 ms.

    Threads that have ended don't count.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
