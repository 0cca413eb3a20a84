"""Where `generate` writes its result: a file that is there whole or not at all, or standard output."""

import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from framegate.core.errors import FramegateError, InvalidRequest


class OutputFile:
    """A result that is being written; ``written`` counts its bytes."""

    def __init__(self, file: BinaryIO, *, rewindable: bool) -> None:
        self._file = file
        self._rewindable = rewindable
        self.written = 0

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        self._file.write(data)
        self.written += len(data)

    def restart(self) -> None:
        """Begin again with the first byte.

        Raises:
            FramegateError: It is a pipe, from which nothing can be taken back.
        """
        if not self._rewindable:
            raise FramegateError(
                "The result could not be read to its end, and a pipe can't be written again."
            )
        self._file.seek(0)
        self._file.truncate()
        self.written = 0


def check_output(target: Path | None) -> None:
    """Check, before there is anything to write, that a file, or standard output for None, can be written.

    Raises:
        InvalidRequest: It can't.
    """
    if target is None:
        if sys.stdout is None:
            raise InvalidRequest("-o: standard output is closed.")
        return
    try:
        if not target.parent.is_dir():
            raise InvalidRequest(f"-o: there is no folder {target.parent}.")
        if not target.exists() or target.is_file():
            part = _beside(target.resolve())
            part.touch(exist_ok=False)
            part.unlink()
    except OSError as error:
        raise InvalidRequest(f"-o: {target} can't be written: {error.strerror}.") from None


@contextmanager
def open_output(target: Path | None) -> Generator[OutputFile]:
    """Open the file ``target``, or standard output for None, for the time of the block.

    A file is written under a temporary name beside it, and renamed if the block ends without an error. What
    exists and is no regular file, such as a named pipe, is written directly.

    Raises:
        InvalidRequest: It can't be written.
    """
    try:
        if target is None:
            file = sys.stdout.buffer
            yield OutputFile(file, rewindable=False)
            file.flush()
        elif target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield OutputFile(file, rewindable=False)
        else:
            yield from _write_beside(target.resolve())
    except BrokenPipeError:
        raise  # whoever reads has enough
    except OSError as error:
        name = "standard output" if target is None else target
        raise InvalidRequest(f"-o: {name} can't be written: {error.strerror}.") from None


def _write_beside(target: Path) -> Generator[OutputFile]:
    part = _beside(target)
    try:
        with part.open("xb") as file:
            yield OutputFile(file, rewindable=True)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _beside(target: Path) -> Path:
    """Return a temporary name that is possible where that of ``target`` is."""
    return target.with_name(f".{secrets.token_hex(4)}{target.name[9:]}")
