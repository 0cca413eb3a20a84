"""Wall clocks that go wrong: processes see the time that a test sets, and only they.

What runs under such a clock is any program that asks the C library for the time, so Valkey, servers and
workers. The times of files, and clocks that only measure how much time passes, are not touched. Linux alone,
where a C compiler is installed; elsewhere these tests are skipped.
"""

import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

SOURCE = Path(__file__).with_name("shifted_clock.c")
HOUR = 3600.0


class Clock:
    """The wall clock of all processes that are started with its `environ`; right until it is shifted."""

    def __init__(self, library: Path, file: Path, ahead: float = 0.0) -> None:
        self._file = file
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(file)}
        file.write_bytes(struct.pack("=q", 0))
        self.shift(ahead)

    def shift(self, seconds: float) -> None:
        """Let it be that many seconds ahead of the right time from now on, or behind it if negative."""
        with self._file.open("rb+", buffering=0) as file:
            file.write(struct.pack("=q", round(seconds * 1e9)))


class NewClock(Protocol):
    """What the fixture `new_clock` gives."""

    def __call__(self, ahead: float = 0.0) -> Clock: ...


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shifts the clock of a process into which it is loaded, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("clocks are shifted on Linux alone, and by a library that needs a C compiler")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def new_clock(clock_library: Path, tmp_path: Path) -> NewClock:
    """Make clocks, each at first ``ahead`` seconds ahead of the right time, or behind it if negative."""
    made: list[Clock] = []

    def make(ahead: float = 0.0) -> Clock:
        made.append(Clock(clock_library, tmp_path / f"clock-{len(made)}", ahead))
        return made[-1]

    return make
