"""Send files in pieces of the size that suits how fast clients take them."""

import time

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

_SMALL, _LARGE = 64 * 1024, 256 * 1024
"""The bytes that are read at a time: large pieces cost a third of the processor time, small ones hold less
memory for a client that is slow to take them."""
_FAST, _SLOW = 0.01, 0.1
"""Clients that take a piece within the former seconds get larger ones, from the latter on smaller ones."""


class PieceMemory:
    """The bytes that pieces may have, all downloads of this process together, above their smallest size."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Return whether there is that much left, which is the caller's from now on."""
        if self._left < size:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Take back what a caller no longer needs."""
        self._left += size


PIECE_MEMORY = PieceMemory(32 * 2**20)


class PacedFile(FileResponse):
    """Read a file in pieces of the size that suits how fast the client takes them.

    A client may take the first ones fast, and then nothing for as long as it may. Up to two pieces wait for
    it meanwhile.
    """

    chunk_size = _SMALL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the parts of it that are requested."""

        async def paced(message: Message) -> None:
            began = time.monotonic()
            await send(message)
            seconds, size = time.monotonic() - began, self.chunk_size
            if seconds <= _FAST and size < _LARGE and PIECE_MEMORY.take(2 * size):
                self.chunk_size = 2 * size
            elif seconds >= _SLOW and size > _SMALL:
                self.chunk_size = size // 2
                PIECE_MEMORY.give_back(size)

        async def ended_small(message: Message) -> None:
            if not message.get("more_body", True) and len(message["body"]) > _SMALL:
                await paced({**message, "more_body": True})
                message = {**message, "body": b""}  # sent once the client has taken most of it
            await paced(message)

        try:
            await super().__call__(scope, receive, ended_small)
        finally:
            PIECE_MEMORY.give_back(2 * (self.chunk_size - _SMALL))
