"""The command line within the test's own process: for tests of what it says, not of how it starts."""

import io
import logging
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

import structlog
from msgspec import Struct

from framegate.cli.main import main


class Done(Struct, frozen=True):
    """A command that has ended; ``output`` is what ``stdout`` shows as text."""

    returncode: int
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.output.decode(errors="backslashreplace")


def run_command(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    stdin: bytes = b"",
) -> Done:
    """Run a command to its end, as `subprocess.run` with ``environ`` and ``cwd`` would.

    Not for a thread beside others that print, nor where an event loop runs.
    """
    output, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(output, encoding="utf-8", newline="")
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with (
        _surroundings(environ, cwd),
        _logging_to(err),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", given),
    ):
        try:
            main([os.fspath(argument) for argument in arguments])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    out.flush()
    return Done(code, output.getvalue(), err.getvalue())


@contextmanager
def _logging_to(stream: TextIO) -> Generator[None]:
    """Log warnings only, as commands do; with pytest's handlers there they don't set that up themselves."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def _surroundings(environ: Mapping[str, str], cwd: Path) -> Generator[None]:
    folders = environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [*filter(None, folders), *sys.path]
    with chdir(cwd), patch.dict(os.environ, environ, clear=True), patch.object(sys, "path", path):
        yield
