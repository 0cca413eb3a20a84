"""Find where the chunks of a body end, so that nothing searches their data.

llhttp parses the body itself. Where a request ends, though, has to be known before it is parsed, as the next
one is to wait; and only lines are searched for that: in a body of line breaks alone, a search for an empty
line would stop at every fourth byte.
"""

import re

from framegate.server.connections.refusals import MAX_HEAD, RefusedRequest

_MAX_FRAMING = 2**20
"""The bytes that chunk sizes and extensions of a body may take beside as many as its data."""
_FREE_CHUNKS = 2000
_MIN_CHUNK = 256
"""The bytes that chunks have on average once there are many: each costs as much as kilobytes in one piece."""

_LINE_END = b"\r\n"
_TRAILERS_END = b"\r\n\r\n"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[;\r]")


class ChunkedFraming:
    """The chunks of one request's body, and how far they have come."""

    __slots__ = ("_chunks", "_data", "_in_chunk", "_lines", "_searched", "ended")

    def __init__(self) -> None:
        self.ended = False
        """Whether the last chunk and the trailers were among the bytes that were measured."""
        self._chunks = self._data = self._lines = 0
        self._in_chunk = 0  # what is left of the current chunk and its CR LF
        self._searched = 0

    def measure(self, unparsed: bytearray) -> int:
        """Return how many of the bytes continue the body; of a line or trailers that are incomplete, none.

        Those bytes are gone from ``unparsed`` at the next call.

        Raises:
            RefusedRequest: The chunks are not valid, or cost more than they carry.
        """
        size, received = 0, len(unparsed)
        while size < received and not self.ended:
            if not self._in_chunk:
                line = self._measure_line(unparsed, size)
                if not line:
                    self._searched = received - size
                    return size
                size += line
            step = min(self._in_chunk, received - size)
            self._in_chunk -= step
            size += step
        return size

    def _measure_line(self, unparsed: bytearray, start: int) -> int:
        """Return the length of the line at ``start`` that begins a chunk, and of what follows the last one.

        It is 0 if the line is incomplete.
        """
        match = _SIZE.match(unparsed, start)
        length = int(match[1], 16) if match else -1
        is_last = length == 0
        end_mark = _TRAILERS_END if is_last else _LINE_END
        searched, self._searched = self._searched, 0
        end = unparsed.find(end_mark, start + max(0, searched - len(end_mark)), start + MAX_HEAD)
        if end < 0:
            if len(unparsed) - start >= MAX_HEAD:
                raise RefusedRequest(
                    f"The trailers, or the extensions of a chunk, are larger than {MAX_HEAD:,} bytes.", 431
                )
            return 0
        if length < 0:
            raise RefusedRequest
        line = end + len(end_mark) - start
        self.ended = is_last
        self._in_chunk = 0 if is_last else length + len(_LINE_END)
        self._check_cost(line, length)
        return line

    def _check_cost(self, line: int, length: int) -> None:
        """Refuse too many chunks that are too small, and extensions that are larger than what they extend."""
        if self._chunks >= _FREE_CHUNKS and self._data < _MIN_CHUNK * self._chunks:
            raise RefusedRequest(
                f"The body comes in more than {_FREE_CHUNKS:,} chunks of fewer than {_MIN_CHUNK} bytes on "
                "average; send larger ones."
            )
        self._chunks += 1
        self._data += length
        self._lines += line
        if self._lines > self._data + _MAX_FRAMING:
            raise RefusedRequest("The extensions of the body's chunks are larger than the body.")
