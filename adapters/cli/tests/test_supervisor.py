"""Processes that are kept running."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framegate.cli import supervisor
from framegate.cli.supervisor import ProcessSupervisor, Slot


class Scripted(ProcessSupervisor):
    """One process, whose launches fail with the ``errors`` first; it then runs a ``program``."""

    def __init__(self, errors: list[OSError], program: str) -> None:
        self.slot = Slot("0")
        super().__init__([self.slot], grace=1.0)
        self._errors = errors
        self._program = program
        self.channels: list[socket.socket] = []
        self.told: list[tuple[str | int, float]] = []

    async def _launch(self, slot: Slot, stdin: socket.socket) -> asyncio.subprocess.Process:
        self.channels.append(stdin)
        if self._errors:
            raise self._errors.pop(0)
        command = (sys.executable, "-S", "-c", self._program)
        return await asyncio.create_subprocess_exec(*command, stdin=stdin.fileno(), start_new_session=True)

    def _log_end(self, slot: Slot, *, pid: int, exit_code: int, restart_in: float) -> None:
        self.told.append((exit_code, restart_in))

    def _log_launch_failed(self, slot: Slot, *, reason: str, restart_in: float) -> None:
        self.told.append((reason, restart_in))


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE", 0.01)


@pytest.mark.usefixtures("short_pauses")
async def test_a_launch_that_the_system_refuses_is_tried_again() -> None:
    refused = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), BlockingIOError(errno.EAGAIN, "no process")]
    running = Scripted(refused, "import os, time; os.write(0, b'\\n'); time.sleep(60)")
    open_files = _open_files()
    running.start()
    try:
        await becomes(lambda: len(running.told) == 2)
        assert running.told == [("Too many open files", 0.01), ("no process", 0.02)]
        await becomes(lambda: running.slot.has_started)
        assert not running.failing.is_set()
    finally:
        await running.stop()
    assert all(channel.fileno() == -1 for channel in running.channels)
    assert _open_files() <= open_files


@pytest.mark.usefixtures("short_pauses")
async def test_launches_that_are_refused_again_and_again_are_called_failing() -> None:
    running = Scripted([OSError(errno.ENOMEM, "no memory") for _ in range(100)], "")
    running.start()
    async with asyncio.timeout(30):
        await running.failing.wait()
    assert [reason for reason, _ in running.told] == ["no memory"] * 4
    await running.stop()
    assert not running.misconfigured.is_set()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
