"""Read the input images and videos that lightx2v's clients name."""

import os
import stat
from pathlib import Path

from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import InvalidMedia
from framegate.core.ports import BytesSource, MediaSource
from framegate.server.requests.media import IdText, PathText, read_media_text

_LONGEST_PATH = 4096


class InputFolder:
    """The one folder of the server below which requests may name files."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def source(self, text: str, field: str) -> MediaSource:
        """Return the source that ``text`` names: a URL, a data URI, base64, or a path below the folder.

        Raises:
            InvalidMedia: There is no such file, or the URL's scheme is not http or https; ``field`` is its
                ``param``.
        """
        try:
            found = read_media_text(text)
        except InvalidMedia as error:
            error.param = field
            raise
        if isinstance(found, PathText | IdText):
            return BytesSource(await FILE_THREADS.run(self._read, found.text, field))
        return found

    def _read(self, text: str, field: str) -> bytes:
        missing = InvalidMedia(
            "There is no such file in the server's input folder; send a URL or base64 instead.", param=field
        )
        if len(text) > _LONGEST_PATH:  # Python splits a path at every slash before the system refuses it
            raise missing
        try:
            folder = self._folder.resolve()
            path = (folder / text).resolve(strict=True)
            if not path.is_relative_to(folder):
                raise missing
            # Don't block on a pipe. Links were followed above; the last part must no longer be one.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError, RuntimeError):
            raise missing from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise missing
            if status.st_size > self._max_bytes:
                raise InvalidMedia(f"The file is larger than {self._max_bytes:,} bytes.", param=field)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(self._max_bytes)
        finally:
            os.close(descriptor)
