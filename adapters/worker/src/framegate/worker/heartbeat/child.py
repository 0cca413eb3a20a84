"""Start a heartbeat process, and write to it without ever waiting for it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from framegate.worker.heartbeat.messages import Heartbeat, HeartbeatStart
from framegate.worker.heartbeat.stop_signals import forward_signals

COMMAND = (sys.executable, "-m", "framegate.worker.heartbeat.process")


class HeartbeatChild:
    """A heartbeat process, which inherits the ``descriptors``. It does nothing until `begin`.

    Its methods are called by one thread at a time, except `lines`, which is for the one that reads its
    answers.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 # nosec B603 # this interpreter, a module of ours
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        self._unsent = b""

    def begin(self, start: HeartbeatStart) -> None:
        """Let it announce the worker, and wait for heartbeats."""
        self._unsent = msgspec.json.encode(start) + b"\n"
        self._flush()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, heartbeat: Heartbeat) -> bool:
        """Send a heartbeat, and return whether there was room: a process that stands still has none."""
        if not self._flush():
            return False
        self._unsent = msgspec.json.encode(heartbeat) + b"\n"
        self._flush()
        return True

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that it writes, until it has ended."""
        yield from self._output

    def wait(self) -> int:
        """Return its exit status once `lines` has ended, and close its input and output."""
        code = self._process.wait()
        self._output.close()
        self.end()
        return code

    def end(self) -> None:
        """Let it end: it reads until its input is closed."""
        with suppress(BrokenPipeError):
            self._input.close()

    def kill(self) -> None:
        """Kill it, even if it stands still."""
        self._process.kill()

    def _flush(self) -> bool:
        if self._input.closed:
            return False
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._input.fileno(), self._unsent) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:  # it has ended; the thread that reads its answers starts another
            return False
        return True


class HeartbeatLauncher:
    """Launch heartbeat processes, which watch the stop signals of this process.

    They also watch the process with which it is to end, behind the descriptor ``parent``; -1 for none. The
    first one is launched at once: it takes as long to start as the rest of a worker. Make it in the main
    thread.
    """

    def __init__(self, parent: int = -1) -> None:
        self.parent = parent
        self.signal_socket = forward_signals()
        self._first: HeartbeatChild | None = self._new()

    def launch(self) -> HeartbeatChild:
        """Return a new heartbeat process."""
        child, self._first = self._first or self._new(), None
        return child

    def _new(self) -> HeartbeatChild:
        return HeartbeatChild([number for number in (self.signal_socket, self.parent) if number >= 0])
