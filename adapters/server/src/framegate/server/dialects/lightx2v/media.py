"""Input pictures and videos as lightx2v's clients give them."""

import asyncio
import os
import stat
from pathlib import Path

from framegate.core.errors import InvalidMedia
from framegate.core.ports import Base64Source, BytesSource, MediaSource, UrlSource


class InputFolder:
    """The one folder of the server from which requests may name files."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def source(self, text: str, field: str) -> MediaSource:
        """A URL, base64, a data URI, or a path below the folder: base64 has no dot, so what has one is that.

        Raises:
            InvalidMedia: no such file may be read, or the scheme is another one.
        """
        lowered = text[:8].lower()
        if lowered.startswith(("http://", "https://")):
            return UrlSource(text)
        if lowered.startswith("data:"):
            return Base64Source(text)
        if "://" in text[:32]:
            raise InvalidMedia(f"{field}: only http and https URLs are fetched.", param=field)
        if "." in text or text.startswith("~"):
            return BytesSource(await asyncio.to_thread(self._read, text, field))
        return Base64Source(text)

    def _read(self, text: str, field: str) -> bytes:
        missing = InvalidMedia(f"{field}: there is no such file in the server's input folder.", param=field)
        try:
            folder = self._folder.resolve()
            path = (folder / text).resolve(strict=True)
            if not path.is_relative_to(folder):
                raise missing
            # Without blocking on a pipe; links were followed above, the last part must not be one any more.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError, RuntimeError):
            raise missing from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise missing
            if status.st_size > self._max_bytes:
                raise InvalidMedia(
                    f"{field}: the file is larger than {self._max_bytes:,} bytes.", param=field
                )
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(self._max_bytes)
        finally:
            os.close(descriptor)
