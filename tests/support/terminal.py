"""A command on a terminal of its own, as a person starts it."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.running import PATIENCE

INTERRUPT = b"\x03"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Run ``command`` in ``cwd`` on a terminal of 80 columns; the end of the ``with`` block kills it."""

    def __init__(
        self, command: Sequence[str | os.PathLike[str]], *, environ: Mapping[str, str], cwd: Path
    ) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self._output = b""
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environ, "TERM": "xterm"},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    @property
    def text(self) -> str:
        """The same without colours."""
        return _COLOURS.sub("", self.output)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._ours, key)

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read until the text has a match of ``pattern``, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text, re.MULTILINE)):
            assert time.monotonic() < deadline, f"{pattern!r} did not appear in:\n{self.text}"
            assert self._read(0.2) or self.process.poll() is None, f"{pattern!r} isn't in:\n{self.text}"
        return found

    def wait(self) -> int:
        """Read until it has ended, and return its exit status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end:\n{self.text}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # it has ended
            time.sleep(seconds)
            return False
        self._output += read
        return bool(read)


def _take_terminal() -> None:
    """Make standard input the terminal that sends this session its Ctrl-C."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
