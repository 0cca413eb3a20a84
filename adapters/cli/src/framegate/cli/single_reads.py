"""Inputs that can be read only once: standard input, pipes and devices."""

import sys
from pathlib import Path
from typing import BinaryIO

from framegate.core.errors import InvalidRequest
from framegate.core.ports import BytesSource

_MAX_TEXT, _MAX_BYTES = 2**20, 2**30


def open_input(name: str, path: Path) -> Path | BytesSource:
    """Return a file that can be read, or the content of a pipe, for the argument ``name``.

    Raises:
        InvalidRequest: It can't be read, or it is a pipe or device that doesn't end.
    """
    try:
        with path.open("rb") as file:
            return path if path.is_file() else BytesSource(_read(name, file, _MAX_BYTES))
    except OSError as error:
        raise InvalidRequest(f"{name}: {path} can't be read: {error.strerror}.") from None


def _read(name: str, file: BinaryIO, limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidRequest(f"{name}: there are more than {limit:,} bytes to read.")
    return data


class StandardInput:
    """What is given as ``-``."""

    def __init__(self) -> None:
        self._reader = ""

    def read_bytes(self, name: str, limit: int = _MAX_BYTES) -> bytes:
        """Return everything, for the argument ``name``.

        Raises:
            InvalidRequest: It can't be read, is empty, has more bytes than ``limit``, or was read for another
            argument.
        """
        if self._reader:
            raise InvalidRequest(f"{name}: standard input is already read for {self._reader}.")
        self._reader = name
        if sys.stdin is None:
            raise InvalidRequest(f"{name}: standard input is closed.")
        try:
            data = _read(name, sys.stdin.buffer, limit)
        except OSError as error:
            raise InvalidRequest(f"{name}: standard input can't be read: {error.strerror}.") from None
        if not data:
            raise InvalidRequest(f"{name}: standard input is empty.")
        return data

    def read_text(self, name: str) -> str:
        """Return the text without its last line break.

        Raises:
            InvalidRequest: As `read_bytes` does, or it is not UTF-8 text.
        """
        data = self.read_bytes(name, _MAX_TEXT)
        try:
            return data.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidRequest(f"{name}: standard input is not UTF-8 text.") from None
