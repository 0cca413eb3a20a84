"""Standard input, which one argument may be read from."""

import sys

from framegate.core.errors import InvalidRequest

_MAX_TEXT = 2**20


class StandardInput:
    """What is given as ``-``."""

    def __init__(self) -> None:
        self._reader = ""

    def read_bytes(self, name: str, limit: int = -1) -> bytes:
        """Return everything, or ``limit`` bytes, for the argument ``name``.

        Raises:
            InvalidRequest: It can't be read, is empty, or was read for another argument.
        """
        if self._reader:
            raise InvalidRequest(f"{name}: standard input is already read for {self._reader}.")
        self._reader = name
        if sys.stdin is None:
            raise InvalidRequest(f"{name}: standard input is closed.")
        try:
            data = sys.stdin.buffer.read(limit)
        except OSError as error:
            raise InvalidRequest(f"{name}: standard input can't be read: {error.strerror}.") from None
        if not data:
            raise InvalidRequest(f"{name}: standard input is empty.")
        return data

    def read_text(self, name: str) -> str:
        """Return the text without its last line break.

        Raises:
            InvalidRequest: As `read_bytes` does, or it is not UTF-8 text, or longer than 1 MiB.
        """
        data = self.read_bytes(name, _MAX_TEXT + 1)
        if len(data) > _MAX_TEXT:
            raise InvalidRequest(f"{name}: standard input has more than {_MAX_TEXT:,} bytes.")
        try:
            return data.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidRequest(f"{name}: standard input is not UTF-8 text.") from None
